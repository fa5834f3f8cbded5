package stacks

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/rekindle-dev/rekindle/internal/fault"
	"github.com/rekindle-dev/rekindle/internal/helm"
)

// mergeValues lays the values over the values files.
func (r *Release) mergeValues() (map[string]any, error) {
	var layers []map[string]any
	for i := range r.ValuesFiles {
		values, err := r.readValues(i)
		if err != nil {
			return nil, err
		}
		layers = append(layers, values)
	}
	return helm.MergeValues(append(layers, r.Values)...), nil
}

// readValues reads a values file, and opens it if SOPS encrypted it: else what is installed would be the ciphertext.
func (r *Release) readValues(i int) (map[string]any, error) {
	field, file := fmt.Sprintf("valuesFiles[%d]", i), r.ValuesFiles[i]
	at := r.docs.Path(r.stack, file)
	raw, err := fs.ReadFile(r.docs.FS, at)
	if err != nil {
		return nil, r.fault(field, "%s: %v", file, errors.Unwrap(err))
	}
	values, err := helm.ReadValues(raw)
	if err == nil && isSealed(values) {
		if raw, err = r.open(field, at); err != nil {
			return nil, err
		}
		values, err = helm.ReadValues(raw)
	}
	if err != nil {
		return nil, r.fault(field, "%s: not a values file: %v", file, err)
	}
	return values, nil
}

func (r *Release) open(field, file string) ([]byte, error) {
	if r.options.Open == nil {
		return nil, r.fault(field, "%s is encrypted by SOPS, and there is nothing here to open it", file)
	}
	raw, err := r.options.Open(r.docs.FS, file)
	if err != nil {
		f := r.fault(field, "its values are encrypted by SOPS")
		f.Kind, f.Cause = fault.KindOf(err), err
		return nil, f
	}
	return raw, nil
}

// isSealed recognises what SOPS wrote by the metadata that it adds.
func isSealed(values map[string]any) bool {
	metadata, _ := values["sops"].(map[string]any)
	return metadata["mac"] != nil
}

// Sealed says whether a values file of the stack is encrypted: Fetch needs the keys then.
func (s *Stack) Sealed() bool {
	return slices.ContainsFunc(s.Releases, func(r *Release) bool {
		return slices.ContainsFunc(r.ValuesFiles, func(file string) bool {
			raw, err := fs.ReadFile(r.docs.FS, r.docs.Path(r.stack, file))
			if err != nil {
				return false // a fault of Fetch
			}
			values, err := helm.ReadValues(raw)
			return err == nil && isSealed(values)
		})
	})
}
