package gitrepo

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	kustomize "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// sealed looks at what SOPS encrypted where Flux does not decrypt it, or cannot: it decrypts the objects that it applies, and before
// that the sources of secretGenerators and the files of patches.
func (w *walker) sealed(file, dir string, k *kustomize.Kustomization) {
	if _, flux := w.repo.(*artifact); !flux {
		return
	}
	sealed := func(entry string) bool {
		p := path.Join(dir, entry)
		return isEncrypted(p, w.files[p])
	}
	for _, g := range k.ConfigMapGenerator {
		for _, source := range slices.Concat(g.FileSources, g.EnvSources, []string{g.EnvSource}) {
			if name := fileOf(source); sealed(name) {
				w.warn("%s: SOPS encrypted %s, and Flux decrypts nothing for a configMapGenerator: the ConfigMap %s gets the encrypted text. Make it a secretGenerator", file, name, g.Name)
			}
		}
	}
	//lint:ignore SA1019 deprecated, and still taken by kustomize
	for _, p := range k.PatchesStrategicMerge {
		if sealed(string(p)) {
			w.warn("%s: SOPS encrypted %s, and Flux does not decrypt it before it is merged: name it in patches, as {path: %s}", file, p, p)
		}
	}
	if !w.decrypts {
		return
	}
	for _, g := range k.SecretGenerator {
		for _, source := range g.FileSources {
			key, _, _ := strings.Cut(source, "=")
			if name := fileOf(source); sealed(name) && !tellsFormat.MatchString(key) && !isWrapped(w.files[path.Join(dir, name)]) {
				w.faults = append(w.faults, fault.New(fault.Usage, "Flux cannot decrypt %s for the Secret %s: it writes what it decrypts in the format that the key tells, and %s tells none",
					name, g.Name, path.Base(key)).At(file, 0).WithHint("give the key the ending of the format, such as %s.yaml, or encrypt the file by: sops encrypt --input-type binary", path.Base(key)))
			}
		}
	}
}

func (w *walker) warn(format string, args ...any) {
	w.warnings = append(w.warnings, fmt.Sprintf(format, args...))
}

// tellsFormat is a name by which Flux knows a format of SOPS. To it all others are binary.
var tellsFormat = regexp.MustCompile(`\.(ya?ml|json|env|ini|dockerconfigjson)$`)

// isWrapped says whether what SOPS encrypted has the one text that a binary file is made of.
func isWrapped(raw []byte) bool {
	var file struct {
		Data any `json:"data"`
	}
	if yaml.Unmarshal(raw, &file) != nil {
		return sopsEnv.Match(raw) && dataEnv.Match(raw)
	}
	_, text := file.Data.(string)
	return text
}

var dataEnv = regexp.MustCompile(`(?m)^data=`)
