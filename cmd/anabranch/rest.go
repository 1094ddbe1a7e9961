package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// An up runs for months beside other programs, and is idle for most of that
// time. The runtime keeps memory that it may need again, up to as much as is
// in use; between two pieces of work it is given back to the system, and
// garbage is collected early. GOGC or GOMEMLIMIT in the environment turns
// this off.
const (
	restLook   = 10 * time.Second // between looks
	restAllocs = 4 << 20          // bytes allocated between two looks: work
	restAgain  = 16               // looks at rest after which nothing more is given back: after 1, 2, 4 … of them it is
	restGC     = 25               // GOGC at rest: garbage may be a quarter of what is in use
	workMemory = 330 << 20        // bytes from which on garbage is collected more often: a first load must fit beside other programs
)

// giveBackMemory does so until the context ends.
func giveBackMemory(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(workMemory)
	tick := time.NewTicker(restLook)
	defer tick.Stop()
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var before uint64
	atRest, looks := false, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(allocated)
		now := allocated[0].Value.Uint64()
		switch works := now-before > restAllocs; {
		case works && atRest:
			debug.SetGCPercent(100)
			atRest = false
		case !works && !atRest:
			debug.SetGCPercent(restGC)
			debug.FreeOSMemory()
			atRest, looks = true, 0
		case !works:
			// What the last piece of work has left is let go of by and by.
			if looks++; looks <= restAgain && looks&(looks-1) == 0 {
				debug.FreeOSMemory()
			}
		}
		before = now
	}
}
