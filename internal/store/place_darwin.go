package store

import (
	"crypto/sha256"
	"syscall"

	"golang.org/x/sys/unix"
)

// whereIs identifies a directory until the next boot; false if it cannot.
func whereIs(dir string) (place, bool) {
	boot, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil || len(boot) < 32 {
		return place{}, false
	}
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return place{}, false
	}
	return place{sha256.Sum256([]byte(boot)), uint64(st.Dev), st.Ino}, true
}
