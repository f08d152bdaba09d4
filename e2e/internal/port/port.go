// Package port reserves ports of the loopback device for programs that are told where to listen.
package port

import (
	"fmt"
	"io"
	"net"
	"strconv"
)

// Loopback is the address of the device.
const Loopback = "127.0.0.1"

// Reservation is a port that the kernel gives to nobody else, neither to who listens on any port nor to who connects from any.
// On Linux that holds until Close: before a program listens there, and while it is started anew. Elsewhere nothing listened
// there when it was reserved, and no more is promised.
type Reservation struct {
	number int
	held   io.Closer
}

// Reserve reserves a port that is free.
func Reserve() (*Reservation, error) {
	r, err := reserve()
	if err != nil {
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	return r, nil
}

// Number is the port's.
func (r *Reservation) Number() int { return r.number }

// Address is the host:port to listen on.
func (r *Reservation) Address() string { return net.JoinHostPort(Loopback, strconv.Itoa(r.number)) }

// Close gives the port up. It can be repeated.
func (r *Reservation) Close() {
	if r.held != nil {
		_ = r.held.Close() // nothing was written, and the second time it is closed already
	}
}
