package main

import "testing"

func TestPercentilesAreTrueToTheWidthOfABucket(t *testing.T) {
	var h Histogram
	for value := int64(1); value <= 1_000_000; value++ {
		h.Record(value)
	}
	for percent, exact := range map[float64]float64{50: 500_000, 99: 990_000, 99.9: 999_000, 100: 1_000_000} {
		got := float64(h.Percentile(percent))
		if got < exact || got > exact*1.01 {
			t.Errorf("percentile %v is %v and not about %v", percent, got, exact)
		}
	}
}

func TestSmallValuesAreExactAndNegativeOnesCountAsZero(t *testing.T) {
	var h Histogram
	for _, value := range []int64{-5, 3, 100} {
		h.Record(value)
	}
	for percent, exact := range map[float64]int64{1: 0, 66.7: 3, 100: 100} {
		if got := h.Percentile(percent); got != exact {
			t.Errorf("percentile %v is %v and not %v", percent, got, exact)
		}
	}
}

func TestEachBucketEndsWhereTheNextBegins(t *testing.T) {
	for bucket := 0; bucket < 5000; bucket++ {
		edge := upperEdge(bucket)
		if bucketOf(uint64(edge)) != bucket || bucketOf(uint64(edge)+1) != bucket+1 {
			t.Fatalf("bucket %d does not end at %d", bucket, edge)
		}
	}
}

func TestAnEmptyHistogramHasNoPercentiles(t *testing.T) {
	var h Histogram
	if got := h.Percentile(99); got != 0 {
		t.Errorf("got %v", got)
	}
}
