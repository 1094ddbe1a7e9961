package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// ownedByUs refuses a socket whose other end is another user's process.
func ownedByUs(conn net.Conn) error {
	cred, err := credentials(conn)
	if err != nil {
		return err
	}
	if int(cred.Uid) != os.Getuid() {
		return fmt.Errorf("it belongs to another user (uid %d)", cred.Uid)
	}
	return nil
}

// processAt is the process at the other end of a socket, 0 if unknown.
func processAt(conn net.Conn) int {
	cred, err := credentials(conn)
	if err != nil {
		return 0
	}
	return int(cred.Pid)
}

func credentials(conn net.Conn) (*syscall.Ucred, error) {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("no local socket")
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *syscall.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	return cred, errors.Join(err, failed)
}
