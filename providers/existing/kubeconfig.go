package existing

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// config is that of the context, with its exec plugin if it has one.
func (p *Provider) config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = p.settings.Kubeconfig
	all, err := rules.Load()
	file := cmp.Or(p.settings.Kubeconfig, strings.Join(rules.GetLoadingPrecedence(), ":"))
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "read the kubeconfig").WithHint("see %s", file)
	}
	if all.Contexts[p.settings.Context] == nil {
		f := fault.New(fault.Usage, "the kubeconfig has no context %q", p.settings.Context).On("spec.provider.existing.context")
		names := slices.Sorted(maps.Keys(all.Contexts))
		if len(names) == 0 {
			return nil, f.WithHint("%s has no context at all", file)
		}
		return nil, f.WithHint("it has %s", strings.Join(names, ", "))
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*all, p.settings.Context, nil, rules).ClientConfig()
	if err != nil {
		return nil, fault.Wrap(err, fault.Usage, "the context %q is not whole", p.settings.Context).WithHint("see %s", file)
	}
	return config, nil
}
