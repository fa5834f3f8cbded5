package traffic

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantilesAreAtMostASixteenthTooHigh(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 19, 1000} {
		var h histogram
		all := make([]time.Duration, n)
		for i := range all {
			all[i] = time.Duration(random.Int64N(int64(time.Second) << random.IntN(6) >> random.IntN(20)))
			h.add(all[i])
		}
		slices.Sort(all)
		for _, q := range []float64{0.5, 0.95, 1} {
			exact := all[max((n*int(q*100)+99)/100-1, 0)]
			got := h.quantile(q)
			if got < exact || got > exact+exact/16+time.Microsecond {
				t.Errorf("of %d, %v is %s, want %s or a little more", n, q, got, exact)
			}
		}
		if h.max != all[n-1] {
			t.Errorf("the longest of %d is %s, want %s", n, h.max, all[n-1])
		}
	}
}

func TestBucketsFollowOneAnother(t *testing.T) {
	for i := 1; i < powers*steps; i++ {
		if begin := bucketEnd(i - 1); bucket(begin) != i || bucket(begin-time.Microsecond) != i-1 {
			t.Fatalf("%s is in bucket %d and what comes before it in %d, want %d and %d", begin, bucket(begin), bucket(begin-time.Microsecond), i, i-1)
		}
	}
	if bucket(1<<62) != powers*steps-1 || bucket(-1) != 0 {
		t.Error("what is too long or too short is not in the last or first bucket")
	}
	var none histogram
	if none.quantile(0.5) != 0 {
		t.Error("nothing has a median")
	}
}
