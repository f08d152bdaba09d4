//go:build !linux

package port

import "net"

// reserve finds a port. To hold it would keep everybody from listening there.
func reserve() (*Reservation, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(Loopback, "0"))
	if err != nil {
		return nil, err
	}
	defer l.Close() // it never served anything
	return &Reservation{number: l.Addr().(*net.TCPAddr).Port}, nil
}
