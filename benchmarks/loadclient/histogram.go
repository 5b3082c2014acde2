package main

import "math/bits"

// Buckets are linear within a power of two, so that each is at most 1/128 of its values wide.
const (
	subBits    = 7
	subBuckets = 1 << subBits
)

// Histogram counts durations in nanoseconds. Percentiles are exact to 0.8 %.
type Histogram struct {
	counts [(64 - subBits) * subBuckets]uint64
	total  uint64
	max    int64
}

// Record counts one duration; a negative one counts as zero.
func (h *Histogram) Record(ns int64) {
	if ns < 0 {
		ns = 0
	}
	h.counts[bucketOf(uint64(ns))]++
	h.total++
	if ns > h.max {
		h.max = ns
	}
}

// Percentile returns a duration that this percentage does not exceed; 0 if nothing was recorded.
func (h *Histogram) Percentile(percent float64) int64 {
	wanted := uint64(percent / 100 * float64(h.total))
	if wanted == 0 {
		wanted = 1
	}
	seen := uint64(0)
	for bucket, count := range h.counts {
		if seen += count; count > 0 && seen >= wanted {
			return min64(upperEdge(bucket), h.max)
		}
	}
	return h.max
}

func bucketOf(value uint64) int {
	if value < subBuckets {
		return int(value)
	}
	exponent := bits.Len64(value) - 1 - subBits
	return exponent*subBuckets + int(value>>exponent)
}

// upperEdge returns the largest value of a bucket.
func upperEdge(bucket int) int64 {
	if bucket < 2*subBuckets {
		return int64(bucket)
	}
	exponent := bucket/subBuckets - 1
	mantissa := int64(bucket%subBuckets + subBuckets)
	return (mantissa+1)<<exponent - 1
}

func min64(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}
