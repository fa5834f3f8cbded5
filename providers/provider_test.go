package providers_test

import (
	"testing"

	"github.com/rekindle-dev/rekindle/providers"
)

func TestWhatIsAppendedToAVersionDoesNotCount(t *testing.T) {
	for have, fits := range map[string]map[string]bool{
		"v1.37.2":          {"": true, "1.37": true, "v1.37": true, "1.37.2": true, "1.3": false, "1.37.20": false, "1.36": false},
		"v1.37.2+k3s1":     {"1.37": true, "1.37.2": true, "1.37.2+k3s1": true, "1.37.1": false},
		"v1.37.2-gke.1300": {"1.37": true, "1.37.2": true, "1.37.2-gke.13": false},
	} {
		for wanted, want := range fits {
			if providers.Fits(have, wanted) != want {
				t.Errorf("%s fits %q: %t", have, wanted, !want)
			}
		}
	}
}
