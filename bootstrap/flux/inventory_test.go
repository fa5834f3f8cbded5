package flux

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// What is in another cluster is not looked for in this one.
func TestTheInventoryIsOfThisCluster(t *testing.T) {
	for text, want := range map[string]int{
		"kind: Kustomization\nspec: {}":                                         1,
		"kind: Kustomization\nspec: {kubeConfig: {secretRef: {name: prod-eu}}}": 0,
		"kind: Kustomization\nspec: {kubeConfig: {configMapRef: {name: eu}}}":   0,
	} {
		obj := &unstructured.Unstructured{}
		text += "\napiVersion: kustomize.toolkit.fluxcd.io/v1\nstatus: {inventory: {entries: [{id: shop_web_apps_Deployment, v: v1}]}}\n"
		if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
			t.Fatal(err)
		}
		if got := inventory(obj); len(got) != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
