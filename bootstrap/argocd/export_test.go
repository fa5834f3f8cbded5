package argocd

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/rekindle-dev/rekindle/internal/kube"
)

// EndAsRead tells the operation of an Application that was read before to end, unless it is on the commit.
func (a *ArgoCD) EndAsRead(ctx context.Context, c *kube.Client, read *unstructured.Unstructured, commit string) (told bool, err error) {
	_, told, err = a.end(ctx, c, read, goal{commit: commit}, nil)
	return told, err
}

// Mark is what tells Argo CD that an object stays.
const Mark = mark
