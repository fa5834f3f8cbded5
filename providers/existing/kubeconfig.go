package existing

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// load reads the kubeconfig, which has the context.
func (p *Provider) load() (*clientcmdapi.Config, *clientcmd.ClientConfigLoadingRules, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = p.settings.Kubeconfig
	all, err := rules.Load()
	if err != nil {
		return nil, nil, fault.Wrap(err, fault.Usage, "read the kubeconfig").WithHint("name the file in which the context %s is: --kubeconfig, or spec.provider.existing.kubeconfig", p.settings.Context)
	}
	if all.Contexts[p.settings.Context] != nil {
		return all, rules, nil
	}
	f := fault.New(fault.Usage, "the kubeconfig has no context %q", p.settings.Context).On("spec.provider.existing.context")
	names := slices.Sorted(maps.Keys(all.Contexts))
	if len(names) == 0 {
		return nil, nil, f.WithHint("%s has no context at all", p.file(rules))
	}
	return nil, nil, f.WithHint("its contexts are %s", strings.Join(names, ", "))
}

func (p *Provider) file(rules *clientcmd.ClientConfigLoadingRules) string {
	return cmp.Or(p.settings.Kubeconfig, strings.Join(rules.GetLoadingPrecedence(), ":"))
}

// config is that of the context, with its exec plugin if it has one.
func (p *Provider) config() (*rest.Config, error) {
	all, rules, err := p.load()
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*all, p.settings.Context, nil, rules).ClientConfig()
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "the context %q is incomplete", p.settings.Context).WithHint("see %s", p.file(rules))
	}
	return config, nil
}

// alone is the kubeconfig with nothing but the context, and with what it names in files.
func (p *Provider) alone() (*clientcmdapi.Config, error) {
	all, _, err := p.load()
	if err != nil {
		return nil, err
	}
	all.CurrentContext = p.settings.Context
	if err := clientcmdapi.MinifyConfig(all); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "the context %q is incomplete", p.settings.Context)
	}
	if err := clientcmdapi.FlattenConfig(all); err != nil {
		return nil, fault.Wrap(err, fault.Usage, "the context %q names a file that cannot be read", p.settings.Context)
	}
	return all, nil
}
