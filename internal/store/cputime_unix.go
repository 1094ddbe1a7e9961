//go:build unix

package store

import (
	"syscall"
	"time"
)

// processTime is what the process has used so far, on all cores: unlike the
// time on the wall it says something on a machine that is shared.
func processTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
