package traffic

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// externalDNSLabel is on the pods of external-dns, which gate and fence know them by, too.
const externalDNSLabel = "app.kubernetes.io/name"

// controller is one external-dns, with the settings that decide whose records it takes for its own.
type controller struct {
	object   string // "Deployment dns/external-dns of prod"
	settings map[string]string
}

// deciding are the settings that have to be equal on both sides for one to take over what the other wrote, and what
// external-dns makes of them when they are not given.
func deciding() map[string]string {
	return map[string]string{"registry": "txt", "txt-owner-id": "default", "txt-prefix": "", "txt-suffix": "", "dynamodb-table": "external-dns"}
}

// checkExternalDNS tells whether the records can be handed over in either direction with none deleted in between.
func checkExternalDNS(ctx context.Context, sides ...Side) error {
	var (
		errs  []error
		found []map[string]controller // of each side, by namespace/name
	)
	for _, side := range sides {
		if side.Client == nil {
			continue
		}
		all, err := controllers(ctx, side)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			errs = append(errs, fault.New(fault.Refused, "no external-dns runs there that could take the records over").On("cluster %s", side.Name).
				WithHint("install it in both clusters, its pods labelled %s: external-dns; or declare another way in spec.migration.traffic", externalDNSLabel))
		}
		for _, c := range all {
			errs = append(errs, c.checkPolicy())
		}
		found = append(found, all)
	}
	if len(found) == 2 && len(found[0]) > 0 && len(found[1]) > 0 {
		errs = append(errs, pair(found[0], found[1]))
	}
	return fault.Join(errs...)
}

// checkPolicy refuses what would delete the records of the other side, and what would never change them.
func (c controller) checkPolicy() error {
	policy := c.settings["policy"]
	if policy == "upsert-only" {
		return nil
	}
	why := fmt.Sprintf("--policy=%s deletes each record whose Ingress or Service has no address yet in its own cluster", policy)
	if policy == "create-only" {
		why = "--policy=create-only never changes a record, so the names would go on leading to the other cluster"
	}
	return fault.New(fault.Refused, "%s", why).On("%s", c.object).
		WithHint("set --policy=upsert-only, in both clusters, until the migration is confirmed")
}

// pair compares each external-dns with that of the same name on the other side; the only ones of both sides may be called
// as they like.
func pair(a, b map[string]controller) error {
	var errs []error
	only := len(a) == 1 && len(b) == 1
	for _, at := range slices.Sorted(maps.Keys(a)) {
		other := at
		if only {
			other = slices.Sorted(maps.Keys(b))[0]
		}
		if right, is := b[other]; is {
			errs = append(errs, a[at].compare(right))
			continue
		}
		errs = append(errs, a[at].alone())
	}
	for _, at := range slices.Sorted(maps.Keys(b)) {
		if _, is := a[at]; !is && !only {
			errs = append(errs, b[at].alone())
		}
	}
	return fault.Join(errs...)
}

func (c controller) alone() error {
	return fault.New(fault.Refused, "the other cluster has none of that name, so nobody there would keep its records").On("%s", c.object).
		WithHint("install it in both clusters, from the same repository")
}

// compare names the settings by which one would not take the other's records for its own.
func (c controller) compare(other controller) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(deciding())) {
		mine, its := c.settings[name], other.settings[name]
		if mine != its {
			errs = append(errs, fault.New(fault.Refused, "its --%s is %q, and %q in %s: neither would change the records of the other", name, mine, its, other.object).
				On("%s", c.object).WithHint("give both the same --%s", name))
		}
	}
	return fault.Join(errs...)
}

// controllers finds every external-dns of a side.
func controllers(ctx context.Context, side Side) (map[string]controller, error) {
	deployments, err := side.Client.Typed().AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("look for external-dns in %s: %w", side.Name, err)
	}
	all := map[string]controller{}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		if d.Spec.Template.Labels[externalDNSLabel] != "external-dns" {
			continue
		}
		all[d.Namespace+"/"+d.Name] = controller{
			object:   fmt.Sprintf("Deployment %s/%s of %s", d.Namespace, d.Name, side.Name),
			settings: settingsOf(d),
		}
	}
	return all, nil
}

// settingsOf reads the flags and the environment, which external-dns takes alike; a flag wins.
func settingsOf(d *appsv1.Deployment) map[string]string {
	settings := deciding()
	settings["policy"] = "sync"
	container := theContainer(d)
	for name := range settings {
		variable := "EXTERNAL_DNS_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		for _, env := range container.Env {
			if env.Name == variable && env.Value != "" {
				settings[name] = env.Value
			}
		}
	}
	args := slices.Concat(container.Command, container.Args)
	for i, arg := range args {
		name, value, inOne := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if _, is := settings[name]; !is || !strings.HasPrefix(arg, "--") {
			continue
		}
		if !inOne && i+1 < len(args) {
			value = args[i+1]
		}
		settings[name] = value
	}
	return settings
}

// theContainer is that of external-dns itself, which may have others beside it, for a provider's webhook.
func theContainer(d *appsv1.Deployment) corev1.Container {
	containers := d.Spec.Template.Spec.Containers
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == "external-dns" })
	return containers[max(i, 0)]
}
