package port_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/meshwarden/meshwarden/e2e/internal/port"
)

// A reserved port is there for a listener, and for the next one, and nobody answers there before.
func TestReserve(t *testing.T) {
	r, err := port.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := net.Dial("tcp", r.Address()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connect before anybody listens: %v, want it refused", err)
	}
	for range 2 {
		l, err := net.Listen("tcp", r.Address())
		if err != nil {
			t.Fatalf("listen on a reserved port: %v", err)
		}
		if _, err := net.Listen("tcp", r.Address()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listen beside another: %v, want the address in use", err)
		}
		c, err := net.Dial("tcp", r.Address())
		if err != nil {
			t.Fatalf("connect: %v", err)
		}
		// Who is started anew finds connections from before.
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for _, end := range []interface{ Close() error }{accepted, c, l} {
			if err := end.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.Close()
	r.Close()
}
