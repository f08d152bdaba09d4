package port_test

import (
	"errors"
	"net"
	"testing"

	"github.com/meshwarden/meshwarden/e2e/internal/port"
)

// The kernel picks a reserved port for nobody: not for who listens on any port, nor for who connects from any.
func TestReservedForNobodyElse(t *testing.T) {
	reserved := map[int]bool{}
	for range 2_000 {
		r, err := port.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if reserved[r.Number()] {
			t.Fatalf("port %d is reserved twice", r.Number())
		}
		reserved[r.Number()] = true
	}
	for range 1_000 {
		l, err := net.Listen("tcp", port.Loopback+":0")
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		for what, address := range map[string]net.Addr{"listener": l.Addr(), "client": c.LocalAddr()} {
			if number := address.(*net.TCPAddr).Port; reserved[number] {
				t.Errorf("a %s got port %d, which is reserved", what, number)
			}
		}
		if err := errors.Join(c.Close(), l.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
