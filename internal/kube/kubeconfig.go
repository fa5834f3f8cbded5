package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rekindle-dev/rekindle/internal/fault"
)

// extensionName is the key of our mark on the entries of a kubeconfig.
const extensionName = "rekindle.dev"

// mark says that an entry is ours, and what Remove has to put back.
type mark struct {
	Owner    string `json:"owner"`
	Cluster  string `json:"cluster,omitempty"`         // Entry.Of; empty where an older version wrote it
	Previous string `json:"previousContext,omitempty"` // current-context before ours was used, of the file that kubectl writes it to
	NewFile  bool   `json:"newFile,omitempty"`         // the file did not exist before
}

// Entry is what a kubeconfig has of one cluster: a cluster, a user and a context of one name.
type Entry struct {
	Name string
	// Of says which cluster it is, wherever it is: two of one name in different places are different ones.
	Of string
}

// taken says that an entry of ours is another cluster's.
func (e Entry) taken(m mark) bool { return m.Cluster != "" && m.Cluster != e.Of }

// Merge adds the one cluster, user and context of cfg to a kubeconfig as an entry, and leaves the
// current context as it was unless use is set. A path may be a list of files, as $KUBECONFIG is; an empty
// one is kubectl's rule: $KUBECONFIG or ~/.kube/config. An entry of that name that is not ours, or is of
// another cluster, is refused; the cluster's own is replaced, and left alone when equal. The current context is set in the file of the list in which kubectl would
// set it. A file is locked as kubectl locks it, written at once or not at all (unless it is a mount of its own), and
// readable for its owner only; a symbolic link stays one.
func Merge(ctx context.Context, path string, e Entry, cfg *clientcmdapi.Config, use bool) (changed bool, err error) {
	if err := Vacant(path, e); err != nil {
		return false, err
	}
	if same, err := Merged(path, e, cfg, use); err == nil && same {
		return false, nil // without a lock, which needs a folder that can be written
	}
	files, name := kubeconfigFiles(path), e.Name
	entries, current := chooseFile(files, name), defaultFile(files)
	changed, err = edit(ctx, entries, func(config *clientcmdapi.Config, exists bool) (bool, error) {
		m, ours := markOf(config, name)
		if !ours {
			m = mark{Owner: Manager, NewFile: !exists}
		}
		if ours && e.taken(m) { // since we looked
			return false, refuseTaken(entries, e, m)
		}
		m.Cluster = e.Of
		own, inUse, err := currentContexts(files, current)
		if err != nil {
			return false, err
		}
		if use && inUse != name {
			m.Previous = own
			if entries == current {
				config.CurrentContext = name
			}
		}
		return true, put(config, name, cfg, m)
	})
	if err != nil || !use || entries == current {
		return changed, err
	}
	switched, err := edit(ctx, current, func(config *clientcmdapi.Config, _ bool) (bool, error) {
		_, inUse, err := currentContexts(files, current)
		if err == nil && inUse != name {
			config.CurrentContext = name
		}
		return true, err
	})
	return changed || switched, err
}

// Merged says whether Merge would leave everything as it is. It changes nothing, and takes no lock.
func Merged(path string, e Entry, cfg *clientcmdapi.Config, use bool) (bool, error) {
	files, name := kubeconfigFiles(path), e.Name
	config, err := load(chooseFile(files, name))
	if err != nil {
		return false, err
	}
	m, ours := markOf(config, name)
	if !ours {
		return false, nil
	}
	m.Cluster = e.Of
	_, inUse, err := currentContexts(files, defaultFile(files))
	if err != nil || use && inUse != name {
		return false, err
	}
	before, err := clientcmd.Write(*config)
	if err != nil {
		return false, err
	}
	if err := put(config, name, cfg, m); err != nil {
		return false, err
	}
	after, err := clientcmd.Write(*config)
	return bytes.Equal(before, after), err
}

// Vacant is an error, of the kind Refused, if Merge would refuse to write the entry.
func Vacant(path string, e Entry) error {
	for _, file := range kubeconfigFiles(path) {
		if err := refuseForeign(file, e); err != nil {
			return err
		}
	}
	return nil
}

// Remove takes the cluster's own entry away, and puts the current context back where Merge changed it. A file that Merge made
// and that is empty then is removed. No entry is no error, nor is one that is somebody else's or another cluster's: it stays.
func Remove(ctx context.Context, path string, e Entry) (changed bool, err error) {
	files := kubeconfigFiles(path)
	u, err := usesOf(files, e)
	if err != nil || len(u.entries) == 0 {
		return false, err
	}
	for _, file := range slices.Concat(u.current, u.entries) { // the entry, which holds what to put back, goes last
		wrote, err := edit(ctx, file, func(config *clientcmdapi.Config, _ bool) (bool, error) {
			return take(config, e, u.previous), nil
		})
		changed = changed || wrote
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// load reads a kubeconfig; one that does not exist is empty.
func load(file string) (*clientcmdapi.Config, error) {
	config, err := clientcmd.LoadFromFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return clientcmdapi.NewConfig(), nil
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Failed, "read").On("kubeconfig %s", file)
	}
	return config, nil
}

// refuseForeign is an error if the file has an entry of that name that is not ours, or is of another cluster.
func refuseForeign(file string, e Entry) error {
	name := e.Name
	config, err := load(file)
	if err != nil {
		return err
	}
	if config.Contexts[name] == nil && config.Clusters[name] == nil && config.AuthInfos[name] == nil {
		return nil
	}
	m, ours := markOf(config, name)
	switch {
	case ours && e.taken(m):
		return refuseTaken(file, e, m)
	case ours:
		return nil
	}
	return fault.New(fault.Refused, "has an entry %q that rekindle did not create", name).On("kubeconfig %s", file).
		WithHint("rename it (kubectl config rename-context %s NEW), or choose another file with --kubeconfig", name)
}

func refuseTaken(file string, e Entry, m mark) error {
	return fault.New(fault.Refused, "entry %q belongs to another cluster, %s; this one is %s", e.Name, m.Cluster, e.Of).On("kubeconfig %s", file).
		WithHint("choose another file with --kubeconfig, which the other commands for this cluster need too; or give one of the two another metadata.name")
}

func markOf(config *clientcmdapi.Config, name string) (mark, bool) {
	entry := config.Contexts[name]
	if entry == nil {
		return mark{}, false
	}
	raw, ok := entry.Extensions[extensionName].(*runtime.Unknown)
	var m mark
	if !ok || json.Unmarshal(raw.Raw, &m) != nil {
		return mark{}, false
	}
	return m, m.Owner != ""
}

// put sets our entries, with their mark.
func put(config *clientcmdapi.Config, name string, from *clientcmdapi.Config, m mark) error {
	entry := from.Contexts[from.CurrentContext]
	if entry == nil && len(from.Contexts) == 1 {
		for _, entry = range from.Contexts {
			break
		}
	}
	if entry == nil || from.Clusters[entry.Cluster] == nil || from.AuthInfos[entry.AuthInfo] == nil {
		return errors.New("the cluster's kubeconfig has no complete context")
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	cluster, user := from.Clusters[entry.Cluster].DeepCopy(), from.AuthInfos[entry.AuthInfo].DeepCopy()
	cluster.LocationOfOrigin, user.LocationOfOrigin = "", ""
	config.Clusters[name], config.AuthInfos[name] = cluster, user
	config.Contexts[name] = &clientcmdapi.Context{
		Cluster: name, AuthInfo: name, Namespace: entry.Namespace,
		Extensions: map[string]runtime.Object{extensionName: &runtime.Unknown{Raw: raw, ContentType: runtime.ContentTypeJSON}},
	}
	return nil
}

// take removes our entries, and has another context be the current one where ours is. keep is false when the file was made
// for them and nothing else is in it.
func take(config *clientcmdapi.Config, e Entry, previous string) (keep bool) {
	name := e.Name
	m, ours := markOf(config, name)
	if ours && e.taken(m) { // since we looked
		return true
	}
	if config.CurrentContext == name {
		config.CurrentContext = previous
	}
	if !ours {
		return true
	}
	delete(config.Contexts, name)
	delete(config.Clusters, name)
	delete(config.AuthInfos, name)
	return !m.NewFile || len(config.Contexts)+len(config.Clusters)+len(config.AuthInfos) > 0
}
