package volumes

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// TestSoManyMoversStand bounds what asks for memory all the time: those that stand stay, further ones do not begin to,
// until one of them goes.
func TestSoManyMoversStand(t *testing.T) {
	var s Standing
	claim := func(n int) types.UID { return types.UID(fmt.Sprint(n)) }
	for n := range mostStanding {
		if !s.has(claim(n)) {
			t.Errorf("claim %d gets none", n)
		}
	}
	s.put(claim(0), &standing{})
	if s.has(claim(mostStanding)) || !s.has(claim(0)) || s.get(claim(0)) == nil || s.get(claim(1)) != nil {
		t.Errorf("there are %v", s.movers)
	}
	s.drop(claim(0))
	if !s.has(claim(mostStanding)) || s.has(claim(0)) {
		t.Errorf("one went, and there are %v", s.movers)
	}
}
