// Command loadclient holds many streams open, publishes to them and measures what arrives.
//
// It reads a plan as a line of JSON from standard input and writes what happens as lines of JSON
// to standard output. Everything is one thread over raw epoll: a goroutine for each stream would
// cost more than the servers that are measured. "loadclient blast" is a server that does nothing
// but write, to show what the client can take.
package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

func main() {
	runtime.LockOSThread()
	// A run is short, so garbage is not collected below the limit.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(4 << 30)
	if len(os.Args) > 1 && os.Args[1] == "blast" {
		blast()
		return
	}
	load := newLoad(readPlan())
	defer load.finish()
	defer func() {
		if problem := recover(); problem != nil {
			failure, ours := problem.(Failure)
			if !ours {
				panic(problem)
			}
			load.result.Failure = failure.text
		}
	}()
	load.run()
}
