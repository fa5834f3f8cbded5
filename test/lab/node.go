package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/rekindle-dev/rekindle/internal/assets"
	"github.com/rekindle-dev/rekindle/internal/plan"
	"github.com/rekindle-dev/rekindle/test/lab/image"
	"github.com/rekindle-dev/rekindle/test/lab/modules"
)

// kindModule is where the files of kind's base image come from.
const kindModule = "sigs.k8s.io/kind"

// Images that kubeadm and the node's own manifests name.
const (
	pauseRef   = "registry.k8s.io/pause:3.10"
	etcdRef    = "registry.k8s.io/etcd:3.7.0-0"
	corednsRef = "registry.k8s.io/coredns/coredns:v1.14.6"
	storageRef = "docker.io/rekindle-lab/local-path-provisioner:v0.0.30"
	helperRef  = "docker.io/rekindle-lab/local-path-helper:v1"
)

// What images hold of the node's root, beside the libraries of the programs. kube-proxy compares its rules with what nft tells of
// them, and nft tells protocols as numbers where nothing says their names: kube-proxy then takes its own rules for somebody else's,
// and removes them each time that it writes all of them anew, as it does when the zone of its node changes.
var (
	proxyFiles  = []string{"usr/sbin/nft", "usr/sbin/conntrack", "etc/protocols"}
	helperFiles = []string{"usr/bin/dash", "usr/bin/mkdir", "usr/bin/rm"}
)

// ensureNodeImage builds the node image if Docker does not have it.
func (l *Lab) ensureNodeImage(ctx context.Context, p plan.Progress) (plan.Outcome, error) {
	ref, err := l.NodeImage()
	if err != nil {
		return "", err
	}
	if _, err := run(ctx, "docker", "image", "inspect", ref); err == nil {
		return plan.Unchanged, nil
	}
	programs, err := l.nodePrograms(ctx, p)
	if err != nil {
		return "", err
	}
	p.Waiting("debootstrap of the node's root")
	root, err := l.debianRoot(ctx, nodePackages)
	if err != nil {
		return "", err
	}
	if _, err := run(ctx, "docker", "import", root, "rekindle-lab/root:bookworm"); err != nil {
		return "", err
	}
	base := nodeImageName + ":base"
	p.Waiting("docker build of the node's base")
	if err := l.buildBase(ctx, base, programs); err != nil {
		return "", err
	}
	p.Waiting("the control plane's images go in")
	images, err := l.controlPlaneImages(ctx, root, programs)
	if err != nil {
		return "", err
	}
	return plan.Changed, preload(ctx, base, ref, images)
}

// NodeImage is the name of the image that this source makes.
func (l *Lab) NodeImage() (string, error) {
	all, err := modules.Node()
	if err != nil {
		return "", err
	}
	files, err := digestDir(l.src("test", "lab", "node"))
	if err != nil {
		return "", err
	}
	parts := slices.Concat([]string{files, "node 2"}, nodePackages, proxyFiles, helperFiles)
	for _, m := range all {
		parts = append(parts, string(m.Archive), fmt.Sprint(m.Programs, m.Tags, m.LDFlags))
	}
	for _, a := range controlPlane() {
		parts = append(parts, a.Name, a.Version)
	}
	return nodeImageName + ":" + KubeVersion + "-" + digest(parts...), nil
}

// nodePrograms builds everything that a node runs, and its images hold.
func (l *Lab) nodePrograms(ctx context.Context, p plan.Progress) (map[string]string, error) {
	cache, err := l.assetCache()
	if err != nil {
		return nil, err
	}
	all, err := modules.Node()
	if err != nil {
		return nil, err
	}
	programs := map[string]string{}
	for _, m := range all {
		built, err := cache.Build(ctx, m, p)
		if err != nil {
			return nil, err
		}
		for name, path := range built {
			programs[name] = path
		}
	}
	for _, a := range controlPlane() {
		if programs[a.Name], err = cache.Get(ctx, a, p); err != nil {
			return nil, err
		}
	}
	pause := l.path("bin", "pause")
	if err := os.MkdirAll(filepath.Dir(pause), 0o755); err != nil {
		return nil, err
	}
	programs["pause"] = pause
	return programs, l.buildProgram(ctx, "./test/lab/cmd/pause", pause)
}

func (l *Lab) assetCache() (*assets.Cache, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	if own := os.Getenv("REKINDLE_ASSETS"); own != "" {
		return assets.Open(own)
	}
	return assets.Open(filepath.Join(dir, "rekindle", "assets"))
}

// buildBase runs docker build in a folder with kind's files, ours and the programs.
func (l *Lab) buildBase(ctx context.Context, tag string, programs map[string]string) error {
	dir, err := os.MkdirTemp(l.cache, "node-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	kindFiles, err := moduleDir(ctx, l.root, kindModule)
	if err != nil {
		return err
	}
	for from, to := range map[string]string{
		filepath.Join(kindFiles, "images", "base", "files"): "kind",
		l.src("test", "lab", "node", "files"):               "files",
	} {
		if err := os.CopyFS(filepath.Join(dir, to), os.DirFS(from)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "files", "kind", "version"), []byte(KubeVersion), 0o644); err != nil {
		return err
	}
	onNode := map[string]string{"cni": "bridge loopback ptp host-local portmap", "bin": "kubelet kubeadm kubectl containerd containerd-shim-runc-v2 ctr crictl"}
	for sub, names := range onNode {
		if err := linkPrograms(filepath.Join(dir, sub), strings.Fields(names), programs); err != nil {
			return err
		}
	}
	_, err = run(ctx, "docker", "build", "--quiet", "--tag", tag, "--file", l.src("test", "lab", "node", "Dockerfile"), dir)
	return err
}

func linkPrograms(dir string, names []string, programs map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		raw, err := os.ReadFile(programs[name])
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// moduleDir is where the go command keeps a module's source.
func moduleDir(ctx context.Context, root, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go list -m %s: %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// controlPlaneImages writes one archive with all images that a node must have before it has a network.
func (l *Lab) controlPlaneImages(ctx context.Context, root string, programs map[string]string) (string, error) {
	nft, err := l.programRoot(ctx, root, "nft", proxyFiles...)
	if err != nil {
		return "", err
	}
	sh, err := l.programRoot(ctx, root, "sh", helperFiles...)
	if err != nil {
		return "", err
	}
	one := func(name string) map[string]string { return map[string]string{name: programs[name]} }
	images := map[string]image.Options{
		"registry.k8s.io/kube-apiserver:" + KubeVersion:          {Programs: one("kube-apiserver")},
		"registry.k8s.io/kube-controller-manager:" + KubeVersion: {Programs: one("kube-controller-manager")},
		"registry.k8s.io/kube-scheduler:" + KubeVersion:          {Programs: one("kube-scheduler")},
		"registry.k8s.io/kube-proxy:" + KubeVersion:              {Programs: one("kube-proxy"), Root: nft},
		pauseRef: {Programs: one("pause")}, strings.Replace(pauseRef, "3.10", "3.10.2", 1): {Programs: one("pause")},
		etcdRef: {Programs: one("etcd")}, corednsRef: {Programs: one("coredns")},
		storageRef: {Programs: one("local-path-provisioner")}, helperRef: {Root: sh},
	}
	entry := map[string][]string{pauseRef: {"/usr/local/bin/pause"}, strings.Replace(pauseRef, "3.10", "3.10.2", 1): {"/usr/local/bin/pause"}, corednsRef: {"/usr/local/bin/coredns"}}
	built := map[name.Tag]v1.Image{}
	for ref, options := range images {
		tag, err := name.NewTag(ref)
		if err != nil {
			return "", err
		}
		img, err := image.Build(image.Spec{Ref: ref, Entrypoint: entry[ref]}, options)
		if err != nil {
			return "", err
		}
		built[tag] = img
	}
	file := l.path("control-plane.tar")
	return file, tarball.MultiWriteToFile(file, built)
}

// programRoot takes programs of a Debian root with the libraries that they are linked to.
func (l *Lab) programRoot(ctx context.Context, root, label string, files ...string) (string, error) {
	file := l.path("roots", label+"-"+digest(append([]string{filepath.Base(root)}, files...)...)+".tar")
	return file, once(file, func(tmp string) error {
		dir := tmp + ".d"
		defer func() { _ = os.RemoveAll(dir) }()
		full, out := filepath.Join(dir, "full"), filepath.Join(dir, "out")
		for _, d := range []string{full, out} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		if _, err := run(ctx, "tar", "-xf", root, "-C", full); err != nil {
			return err
		}
		for _, file := range files {
			if err := copyLinked(ctx, full, out, file); err != nil {
				return err
			}
		}
		for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
			if err := os.Symlink("usr/"+link, filepath.Join(out, link)); err != nil {
				return err
			}
		}
		if label == "sh" {
			if err := os.Symlink("dash", filepath.Join(out, "usr/bin/sh")); err != nil {
				return err
			}
		}
		f, err := os.Create(tmp)
		if err != nil {
			return err
		}
		return errors.Join(image.TarDir(out, f), f.Close())
	})
}

// copyLinked copies a file of the root and, of a program, what ldd says that it needs.
func copyLinked(ctx context.Context, full, out, file string) error {
	files := []string{"/" + file}
	if !strings.HasPrefix(file, "etc/") {
		listed, err := run(ctx, "chroot", full, "ldd", "/"+file)
		if err != nil {
			return err
		}
		for _, word := range strings.Fields(listed) {
			if strings.HasPrefix(word, "/") {
				files = append(files, word)
			}
		}
	}
	for _, file := range files {
		real, err := run(ctx, "chroot", full, "readlink", "-f", file)
		if err != nil {
			return err
		}
		raw, err := os.ReadFile(filepath.Join(full, strings.TrimSpace(real)))
		if err != nil {
			return err
		}
		to := filepath.Join(out, usr(file))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, raw, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// usr gives the path of a file in a root whose /lib is a link into /usr.
func usr(file string) string {
	for _, top := range []string{"/lib64/", "/lib/", "/bin/", "/sbin/"} {
		if strings.HasPrefix(file, top) {
			return "/usr" + file
		}
	}
	return file
}

// preload starts containerd in a container of the base, gives it the images, and keeps the result.
func preload(ctx context.Context, base, ref, images string) error {
	const script = `set -eu
ctr oci spec | jq '.hooks.createContainer[.hooks.createContainer|length] |= . + {"path": "/kind/bin/mount-product-files.sh"}' | jq 'del(.process.rlimits)' > /etc/containerd/cri-base.json
containerd >/var/log/containerd-preload.log 2>&1 & pid=$!
until ctr version >/dev/null 2>&1; do kill -0 $pid; sleep 0.2; done
ctr -n k8s.io images import --all-platforms --no-unpack - >/dev/null
kill $pid; wait $pid || true
rm -f /var/log/containerd-preload.log`
	id, err := run(ctx, "docker", "create", "--interactive", "--privileged", "--label", marker, "--entrypoint", "/bin/sh", base, "-c", script)
	if err != nil {
		return err
	}
	id = strings.TrimSpace(id)
	defer func() { _, _ = run(context.WithoutCancel(ctx), "docker", "rm", "--force", "--volumes", id) }()
	in, err := os.Open(images)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	cmd := exec.CommandContext(ctx, "docker", "start", "--attach", "--interactive", id)
	cmd.Stdin = in
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("put the images into the node: %w: %s", err, tail(string(out), 20))
	}
	_, err = run(ctx, "docker", "commit", "--change", `ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]`, "--change", "CMD []", id, ref)
	return err
}
