// Package server is the HTTPS server of the webhooks: which TLS it speaks, who may connect, and how much it takes on at a
// time. It knows nothing of what the handlers decide.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// idleTimeout is how long a connection without a request is kept. It is longer than the 90 s of the API server's
	// client, so that the client is the one to close it: if the server did, a request might be on its way.
	idleTimeout = 2 * time.Minute
	// headerBytes is how long the headers of a request may be. The API server's have some hundred bytes.
	headerBytes = 64 << 10
	// shutdownTimeout is how long the requests in flight may hold up the end.
	shutdownTimeout = time.Minute
)

// Options say what is served, and how. All are required.
type Options struct {
	// Address is the host:port to listen on.
	Address string
	// TLS is what NewTLSConfig returns.
	TLS     *tls.Config
	Handler http.Handler
	// RequestTimeout is how long a handshake and a request may each take to come in, and an answer to go out.
	RequestTimeout time.Duration
	// Deadline is how long the handler may take in between; the handler itself keeps it.
	Deadline time.Duration
	// Draining says whether the server is about to stop. Each answer then closes its connection, so that clients turn to
	// another replica and few connections are left to be closed when the server stops.
	Draining func() bool
}

// Server serves HTTP/1.1 over TLS. The API server speaks nothing else to a webhook's Service (hookClientConfig in
// k8s.io/apiserver/pkg/util/webhook/client.go), and without HTTP/2 there are no streams that one connection could open
// and reset at will: a client has a connection for each request that it has in flight.
type Server struct {
	http      *http.Server
	listening atomic.Bool
}

// New returns a server. It listens once it is started.
func New(o Options) *Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	return &Server{http: &http.Server{
		Addr:        o.Address,
		TLSConfig:   o.TLS,
		Handler:     closing(o.Draining, o.Handler),
		Protocols:   protocols,
		ReadTimeout: o.RequestTimeout,
		// Counted from the end of the headers: the rest of the request, the decision, the answer.
		WriteTimeout:   2*o.RequestTimeout + o.Deadline,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: headerBytes,
	}}
}

// closing asks the clients to close their connections while draining says so.
func closing(draining func() bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if draining() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// Start serves until the context ends, and returns when the requests in flight are answered. It implements
// manager.Runnable.
func (s *Server) Start(ctx context.Context) error {
	listener, err := net.Listen("tcp", s.http.Addr)
	if err != nil {
		return fmt.Errorf("cannot serve the webhooks: %w", err)
	}
	s.listening.Store(true)
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		stopped <- s.http.Shutdown(limited)
	})
	if err := s.http.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("stopped serving the webhooks: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("requests were not answered within %s of the end: %w", shutdownTimeout, err)
	}
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica serves.
func (s *Server) NeedLeaderElection() bool {
	return false
}

// Ready is a healthz.Checker.
func (s *Server) Ready(*http.Request) error {
	if !s.listening.Load() {
		return fmt.Errorf("the webhook server does not listen on %s yet", s.http.Addr)
	}
	return nil
}
