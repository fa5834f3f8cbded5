package traffic

import (
	"math"
	"math/bits"
	"time"
)

// Each power of two of microseconds has this many buckets, so that a quantile is at most a sixteenth too high.
const (
	stepBits = 4
	steps    = 1 << stepBits
	powers   = 32 // to nine hours
)

// histogram counts durations in buckets that grow with them. The zero value is empty.
type histogram struct {
	buckets [powers * steps]int64
	count   int64
	max     time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucket(d)]++
	h.count++
	h.max = max(h.max, d)
}

// quantile is the duration that a part q of all does not exceed: the end of its bucket, at most the longest of all. It is
// 0 when there is none.
func (h *histogram) quantile(q float64) time.Duration {
	want := max(int64(math.Ceil(q*float64(h.count))), 1)
	var seen int64
	for i, n := range h.buckets {
		if seen += n; seen >= want {
			return min(bucketEnd(i), h.max)
		}
	}
	return h.max
}

// bucket is the number of a duration's bucket: below steps microseconds one for each, above the power and the bits after
// its first.
func bucket(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 0))
	if us < steps {
		return int(us)
	}
	shift := bits.Len64(us) - 1 - stepBits
	return min((shift+1)*steps+int(us>>shift)-steps, powers*steps-1)
}

// bucketEnd is where the next bucket begins.
func bucketEnd(i int) time.Duration {
	if i < steps {
		return time.Duration(i+1) * time.Microsecond
	}
	shift := i/steps - 1
	return time.Duration(steps+i%steps+1) << shift * time.Microsecond
}
