package helm

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rekindle-dev/rekindle/internal/kube"
	"github.com/rekindle-dev/rekindle/internal/marks"
)

// hasEnded says whether it was recorded of a revision that its Jobs are complete. Helm gives the labels of a revision to the next
// one, so the label has its number.
func hasEnded(rel *release.Release) bool { return rel.Labels[marks.Ended] == strconv.Itoa(rel.Version) }

// JobsEnded says whether RecordEnded was called for the last revision of a release, and which revision that is.
func JobsEnded(c *kube.Client, r Release) (ended bool, revision int, err error) {
	records := storage.Init(driver.NewSecrets(c.Typed().CoreV1().Secrets(r.Namespace)))
	last, err := records.Last(r.Name)
	if err != nil {
		return false, 0, couldNot("read its history", r.Name, err)
	}
	return hasEnded(last), last.Version, nil
}

// RecordEnded records of the last revision of a release that those of its Jobs that the cluster takes away once they have ended were
// seen complete: one that is missing from now on has done its work. Without it, one that is missing may as well have failed.
func RecordEnded(ctx context.Context, c *kube.Client, r Release, revision int) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{marks.Ended: strconv.Itoa(revision)}}})
	if err != nil {
		return err
	}
	record := fmt.Sprintf("sh.helm.release.v1.%s.v%d", r.Name, revision)
	_, err = c.Typed().CoreV1().Secrets(r.Namespace).Patch(ctx, record, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.Manager})
	if err != nil {
		return couldNot("record that its Jobs are complete", r.Name, err)
	}
	return nil
}
