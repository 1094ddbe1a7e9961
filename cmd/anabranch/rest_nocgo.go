//go:build !cgo || !linux

package main

// giveBackForeign does nothing: without cgo all memory is the Go runtime's.
func giveBackForeign() {}
