//go:build !linux

package main

import "net"

// ownedByUs relies on the folder, which its owner alone may enter.
func ownedByUs(net.Conn) error { return nil }

// processAt cannot be told here.
func processAt(net.Conn) int { return 0 }
