package content

import (
	"fmt"

	"github.com/rekindle-dev/rekindle/test/lab/image"
)

// Extra gives the images of a component that takes minutes to build and that few tests want; it is built when it is
// asked for by its name.
func Extra(component string) ([]image.Spec, error) {
	if component != "argocd" {
		return nil, fmt.Errorf("the lab has no component %s: want argocd", component)
	}
	return []image.Spec{argocd(), redis()}, nil
}

// accounts have one user besides root, with the number that the official images give it.
const accounts = "root:x:0:0:root:/root:/bin/sh\nargocd:x:999:999:Argo CD:/home/argocd:/bin/sh\n"

// verify is asked whether a commit is signed. Those of the tests are not, of which upstream's script says nothing.
const verify = "#!/bin/sh\n"

// argocd is the part of Argo CD that applies a repository, with the programs that it calls. It is one program that acts
// by the name it is called with.
func argocd() image.Spec {
	const program = "/usr/local/bin/argocd"
	return image.Spec{
		Ref: "quay.io/argoproj/argocd:v3.5.7", Module: "argocd",
		Package: map[string]string{"argocd": ".", "kustomize": "sigs.k8s.io/kustomize/kustomize/v5"},
		LDFlags: []string{"-s", "-w"}, Debian: []string{"git", "openssh-client"},
		Files: map[string]string{"/etc/passwd": accounts, "/usr/local/bin/git-verify-wrapper.sh": verify},
		Links: map[string]string{
			program + "-application-controller": program, program + "-repo-server": program, program + "-git-ask-pass": program,
		},
		Env: []string{"USER=argocd", "HOME=/home/argocd", "GRPC_ENABLE_TXT_SERVICE_CONFIG=false"}, User: "999:999", WorkDir: "/tmp",
	}
}

// redis is Debian's, in which Argo CD keeps what it can make again.
func redis() image.Spec {
	return image.Spec{
		Ref: "docker.io/library/redis:7.0", Debian: []string{"redis-server"}, Files: map[string]string{"/etc/passwd": accounts},
		Entrypoint: []string{"redis-server"}, User: "999:999", WorkDir: "/data",
	}
}
