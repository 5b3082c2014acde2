package main

import (
	"strconv"
	"time"
)

var epoch = time.Now()

// now returns nanoseconds of the monotonic clock since the program began.
func now() int64 { return int64(time.Since(epoch)) }

func decimal(value int) string { return strconv.Itoa(value) }

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

func nanoseconds(s float64) int64 { return int64(s * 1e9) }
