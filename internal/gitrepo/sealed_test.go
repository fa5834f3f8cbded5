package gitrepo

import (
	"slices"
	"strings"
	"testing"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

const (
	sealedYAML   = "x: ENC[AES256_GCM]\nsops:\n  mac: ENC[x]\n"
	sealedEnv    = "X=ENC[AES256_GCM]\nsops_mac=ENC[x]\n"
	sealedINI    = "[s]\nx = ENC[x]\n[sops]\nmac = ENC[x]\n"
	sealedBinary = `{"data": "ENC[x]", "sops": {"mac": "ENC[x]"}}`
)

// TestWhatFluxCannotDecryptIsKnownBeforehand: it writes a key of a Secret in the format that the key's ending tells.
func TestWhatFluxCannotDecryptIsKnownBeforehand(t *testing.T) {
	flux := Source{Namespace: "flux-system", Name: "rekindle"}
	files := map[string]string{"p/a.yaml": sealedYAML, "p/a": sealedYAML, "p/x.env": sealedEnv, "p/x.ini": sealedINI, "p/token": sealedBinary, "p/plain": "x"}
	for source, bad := range map[string]bool{
		"a.yaml": false, "a": true, "a.yaml=a": false, "config=a.yaml": true, "config=x.env": true, "config=x.ini": true, "x.ini": false, "token": false,
		"token=token": false, ".dockerconfigjson=token": false, "plain": false, "key=plain": false,
	} {
		files["p/kustomization.yaml"] = "secretGenerator: [{name: s, files: ['" + source + "']}]\n"
		_, err := Render(t.Context(), repoFS(files), "p", flux)
		if (err != nil) != bad {
			t.Errorf("%s: %v", source, err)
		}
		if bad {
			wantFault(t, err, fault.Usage, "p/kustomization.yaml: Flux cannot decrypt ", "for the Secret s", "--input-type binary")
		}
	}
	files["p/kustomization.yaml"] = "secretGenerator: [{name: s, files: [config=a.yaml]}]\n"
	if _, err := Render(t.Context(), repoFS(files), "p", Source{}); err != nil {
		t.Errorf("without Flux: %v", err)
	}
	delete(files, "p/a.yaml")
	files["a.yaml"], files["q/k.yaml"] = sealedYAML, kustomization("k", "p", "rekindle")
	files["p/kustomization.yaml"] = "secretGenerator: [{name: s, files: [config=../a.yaml]}]\n"
	if _, err := Render(t.Context(), repoFS(files), "q", flux); err != nil {
		t.Errorf("of a Kustomization that decrypts nothing: %v", err)
	}
	files["q/k.yaml"] = strings.Replace(files["q/k.yaml"], "spec: {", "spec: {decryption: {provider: sops}, ", 1)
	_, err := Render(t.Context(), repoFS(files), "q", flux)
	wantFault(t, err, fault.Usage, "p/kustomization.yaml: Flux cannot decrypt ../a.yaml")
}

// TestWhatFluxDoesNotDecryptIsTold: it renders, and the cluster gets the encrypted text.
func TestWhatFluxDoesNotDecryptIsTold(t *testing.T) {
	files := map[string]string{"p/kustomization.yaml": "resources: [c.yaml, q]\nconfigMapGenerator: [{name: c, files: [k=a.yaml, plain], envs: [x.env]}]\npatchesStrategicMerge: [s.yaml]\n",
		"p/c.yaml": cm("b"), "p/a.yaml": sealedYAML, "p/x.env": sealedEnv, "p/plain": "x", "p/s.yaml": cm("b") + sealedYAML,
		"p/q/kustomization.yaml": "secretGenerator: [{name: s, files: [a.yaml], envs: [x.env]}]\n", "p/q/a.yaml": sealedYAML, "p/q/x.env": sealedEnv}
	r, err := Render(t.Context(), repoFS(files), "p", Source{Namespace: "flux-system", Name: "rekindle"})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(r.Warnings, "\n")
	for _, want := range []string{"SOPS encrypted a.yaml, and Flux decrypts nothing for a configMapGenerator: the ConfigMap c gets", "SOPS encrypted x.env, and", "SOPS encrypted s.yaml, and Flux does not decrypt it before"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if len(r.Warnings) != 3 || !slices.IsSorted(r.Warnings) {
		t.Errorf("warnings:\n%s", text)
	}
}
