//go:build cgo && linux

package main

/*
#include <stdlib.h>
#include <malloc.h>

// Of the C libraries of Linux only glibc keeps what was freed in arenas of
// its own, and has a call that gives it back.
static void give_back(void) {
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}
*/
import "C"

// giveBackForeign gives memory back that is not the Go runtime's. With cgo the
// blocks that the store has cached lie there, and glibc keeps what they took
// for as long as the process lives. Cost: some milliseconds.
func giveBackForeign() { C.give_back() }
