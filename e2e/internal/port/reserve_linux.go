package port

import (
	"net"
	"os"
	"syscall"
)

// reserve binds a socket and does not listen. With SO_REUSEADDR, which Go's net package sets as well, a program that is told
// the port can bind it beside that and listen; the kernel itself picks a port that is bound for nobody.
func reserve() (*Reservation, error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	held := os.NewFile(uintptr(socket), "port")
	if err := syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return nil, closing(held, "setsockopt", err)
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte(net.ParseIP(Loopback).To4())}); err != nil {
		return nil, closing(held, "bind", err)
	}
	address, err := syscall.Getsockname(socket)
	if err != nil {
		return nil, closing(held, "getsockname", err)
	}
	return &Reservation{number: address.(*syscall.SockaddrInet4).Port, held: held}, nil
}

// closing returns the error of a system call after which the socket is of no use.
func closing(held *os.File, call string, err error) error {
	_ = held.Close() // nothing was written
	return os.NewSyscallError(call, err)
}
