package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// running is a server of a test.
type running struct {
	*Server
	address  string
	ca       authority
	draining atomic.Bool
	stop     context.CancelFunc
	ended    chan error
}

// start starts a server of the handler on loopback.
func start(t *testing.T, handler http.HandlerFunc, requestTimeout time.Duration) *running {
	t.Helper()
	r := &running{ca: newAuthority(t, "ca"), address: freeAddress(t), ended: make(chan error, 1)}
	certificate := r.ca.server(t)
	r.Server = New(Options{
		Address: r.address, TLS: config(&certificate, nil), Handler: handler,
		RequestTimeout: requestTimeout, Deadline: patience, Draining: r.draining.Load,
	})
	if r.Ready(nil) == nil || r.NeedLeaderElection() {
		t.Error("ready before it listens, or only as the leader")
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { r.ended <- r.Start(ctx) }()
	eventually(t, "the server listens", func() bool { return r.Ready(nil) == nil })
	return r
}

// client returns a client that takes any version of HTTP.
func (r *running) client() *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.ca.pool(), MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true}
	return &http.Client{Transport: transport, Timeout: patience}
}

// dial opens a connection to write to by hand.
func (r *running) dial(t *testing.T) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: r.ca.pool(), MinVersion: tls.VersionTLS13})
	noError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// TestServe follows a server from its first answer to its end.
func TestServe(t *testing.T) {
	arrived, letGo := make(chan struct{}), make(chan struct{})
	r := start(t, func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/slow" {
			arrived <- struct{}{}
			<-letGo
		}
		_, _ = io.WriteString(w, request.Proto)
	}, patience)
	client := r.client()
	get := func(path string) (string, bool) {
		response, err := client.Get("https://" + r.address + path)
		if err != nil {
			t.Error(err)
			return "", false
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Error(err)
		}
		return string(body), response.Close
	}
	if got, closes := get("/"); got != "HTTP/1.1" || closes {
		t.Errorf("answered over %s, and the connection closes: %t", got, closes)
	}
	r.draining.Store(true)
	if _, closes := get("/"); !closes {
		t.Error("while it drains, a connection stays")
	}
	answered := make(chan string)
	go func() {
		got, _ := get("/slow")
		answered <- got
	}()
	<-arrived
	r.stop()
	eventually(t, "it takes no more connections", func() bool {
		c, err := net.Dial("tcp", r.address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-r.ended:
		t.Fatalf("it ended with a request in flight: %v", err)
	default:
	}
	close(letGo)
	if got := <-answered; got != "HTTP/1.1" {
		t.Errorf("the request in flight is answered with %q", got)
	}
	if err := <-r.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// TestStartFails: an address that is taken, and one that stops before it starts.
func TestStartFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	defer l.Close()
	certificate := newAuthority(t, "ca").server(t)
	options := Options{Address: l.Addr().String(), TLS: config(&certificate, nil), Handler: http.NotFoundHandler(), Draining: func() bool { return false }}
	if err := New(options).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("on an address that is taken: %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	options.Address = freeAddress(t)
	if err := New(options).Start(stopped); err != nil {
		t.Errorf("told to stop at once: %v", err)
	}
}

// TestSlowClients: who sends nothing, or not all of it, is shown out, whatever part it is that does not come.
func TestSlowClients(t *testing.T) {
	faults := make(chan error, 1)
	limits, rejected := newLimits(t, 1, 1000)
	r := start(t, limits.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		_, err := io.ReadAll(request.Body)
		faults <- err
	})).ServeHTTP, 50*time.Millisecond)
	const headers = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
	tests := []struct {
		reason string
		sends  string // over TLS; without any, nothing at all is sent, not even a handshake
		body   bool   // the handler gets to see it
	}{
		{"nothing at all", "", false},
		{"a part of the headers", headers, false},
		{"no body", headers + "\r\n", true},
		{"a part of the body", headers + "\r\nhalf", true},
	}
	counted := 0.0
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			var c net.Conn
			if tc.sends == "" {
				plain, err := net.Dial("tcp", r.address)
				noError(t, err)
				defer plain.Close()
				c = plain
			} else {
				c = r.dial(t)
				_, err := io.WriteString(c, tc.sends)
				noError(t, err)
			}
			noError(t, c.SetReadDeadline(time.Now().Add(patience)))
			// It ends; how, differs.
			if _, err := io.Copy(io.Discard, c); isTimeout(err) {
				t.Errorf("the connection stays open: %v", err)
			}
			if tc.body {
				counted++
				if err := <-faults; !isTimeout(err) {
					t.Errorf("the handler reads the body with %v", err)
				}
			}
			if got := rejected()["too_slow"]; got != counted {
				t.Errorf("%v are counted instead of %v", got, counted)
			}
		})
	}
}

// TestSlowHandler: a handler may take longer than a request to come in, and its answer still goes out.
func TestSlowHandler(t *testing.T) {
	r := start(t, func(w http.ResponseWriter, request *http.Request) {
		_, err := io.ReadAll(request.Body)
		// Another client that sends nothing measures the time.
		silent, dialed := net.Dial("tcp", request.Host)
		if err := errors.Join(err, dialed); err != nil {
			t.Error(err)
			return
		}
		defer silent.Close()
		_, _ = io.Copy(io.Discard, silent)
		if err := request.Context().Err(); err != nil {
			t.Errorf("the request was given up: %v", err)
		}
		_, _ = io.WriteString(w, "late")
	}, 50*time.Millisecond)
	c := r.dial(t)
	for range 2 { // and so may the next one on the same connection
		_, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: "+r.address+"\r\nContent-Length: 4\r\n\r\nbody")
		noError(t, err)
		response, err := http.ReadResponse(bufio.NewReader(c), nil)
		noError(t, err)
		body, err := io.ReadAll(response.Body)
		noError(t, err)
		noError(t, response.Body.Close())
		if string(body) != "late" {
			t.Errorf("answered with %q", body)
		}
	}
}

// TestPanic: a handler that panics ends its own connection and nothing else.
func TestPanic(t *testing.T) {
	r := start(t, func(_ http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/panic" {
			panic(http.ErrAbortHandler) // any other one as well, with its stack in the log
		}
	}, patience)
	client := r.client()
	for range 3 {
		if response, err := client.Get("https://" + r.address + "/panic"); err == nil {
			response.Body.Close()
			t.Error("a panic is an answer")
		}
		response, err := client.Get("https://" + r.address + "/")
		noError(t, err)
		noError(t, response.Body.Close())
	}
}

// TestHeaders: nobody sends megabytes of them.
func TestHeaders(t *testing.T) {
	r := start(t, func(http.ResponseWriter, *http.Request) {}, patience)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.address+"/", http.NoBody)
	noError(t, err)
	request.Header.Set("X-Long", strings.Repeat("x", 80<<10))
	response, err := r.client().Do(request)
	noError(t, err)
	noError(t, response.Body.Close())
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered with %d", response.StatusCode)
	}
}

func isTimeout(err error) bool {
	timeout := net.Error(nil)
	return errors.As(err, &timeout) && timeout.Timeout()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, patience, true, func(context.Context) (bool, error) {
		return holds(), nil
	})
	if err != nil {
		t.Fatalf("never: %s", what)
	}
}
