package volumes

import (
	"maps"
	"testing"
)

// TestAClaimComesBackWithoutWhatItsClusterWrote: in another one there is neither that node nor that driver.
func TestAClaimComesBackWithoutWhatItsClusterWrote(t *testing.T) {
	own := map[string]string{"example.com/a": "b", "volume.beta.kubernetes.io/storage-class": "fast", "rekindle.dev/snapshot": "skip"}
	all := map[string]string{
		"pv.kubernetes.io/bind-completed": "yes", "volume.kubernetes.io/selected-node": "n", "volume.kubernetes.io/storage-provisioner": "p",
		"volume.beta.kubernetes.io/storage-provisioner": "p", "volume.kubernetes.io/storage-resizer": "p",
		"kubectl.kubernetes.io/last-applied-configuration": "{}",
	}
	maps.Copy(all, own)
	if got := ownAnnotations(all); !maps.Equal(got, own) {
		t.Errorf("it comes back with %v, want %v", got, own)
	}
}
