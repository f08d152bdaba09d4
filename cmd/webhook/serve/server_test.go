package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/client-go/util/cert"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// webhookServer is a server of a test's handlers, and a client of it.
type webhookServer struct {
	address string
	client  *http.Client
}

// startServer starts a server as the options make it.
func startServer(t *testing.T, handlers map[string]webhook.Handler, args ...string) webhookServer {
	t.Helper()
	pemCertificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(pemCertificate, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	settings, err := parse(t, append([]string{"--bind-address=" + address}, args...)...).validate()
	if err != nil {
		t.Fatal(err)
	}
	get := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }
	s, err := newServer(t.Context(), settings, get, handlers, prometheus.NewRegistry(), logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	eventually(t, "the server listens", func() bool { return s.Ready(nil) == nil })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pemCertificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return webhookServer{address: address, client: &http.Client{Transport: transport, Timeout: patience}}
}

// post asks the webhook at the path, and returns the status of HTTP and the answer if there is one.
func (s webhookServer) post(path string) (int, *admissionv1.AdmissionResponse, error) {
	body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1"}}`
	response, err := s.client.Post("https://"+s.address+path, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	var review admissionv1.AdmissionReview
	if response.StatusCode == http.StatusOK {
		err = json.NewDecoder(response.Body).Decode(&review)
	}
	return response.StatusCode, review.Response, err
}

// TestServerHandlers: each webhook has a path, decodes and answers for itself, and has a budget of its own.
func TestServerHandlers(t *testing.T) {
	arrived, letGo := make(chan struct{}), make(chan struct{})
	s := startServer(t, map[string]webhook.Handler{
		"/mutate-namespace": webhook.HandlerFunc(func(context.Context, webhook.Request) webhook.Response { return webhook.Allowed("fine") }),
		"/validate": webhook.HandlerFunc(func(context.Context, webhook.Request) webhook.Response {
			arrived <- struct{}{}
			<-letGo
			return webhook.Denied("no")
		}),
	}, "--max-requests-in-flight=1")
	denied := make(chan string, 1)
	go func() {
		code, answer, err := s.post("/validate")
		denied <- fmt.Sprintf("%d %v %t", code, err, err == nil && !answer.Allowed && answer.UID == "1")
	}()
	<-arrived
	if code, _, err := s.post("/validate"); code != http.StatusTooManyRequests || err != nil {
		t.Errorf("a second one beside it: %d, %v", code, err)
	}
	if code, answer, err := s.post("/mutate-namespace"); code != http.StatusOK || err != nil || !answer.Allowed {
		t.Errorf("a namespace beside it: %d, %v, %v", code, answer, err)
	}
	letGo <- struct{}{}
	if got := <-denied; got != "200 <nil> true" {
		t.Errorf("the first one: %s", got)
	}
	if code, _, err := s.post("/other"); code != http.StatusNotFound || err != nil {
		t.Errorf("another path: %d, %v", code, err)
	}
}

// TestServerPanic: a handler that panics refuses that request, and the process goes on.
func TestServerPanic(t *testing.T) {
	s := startServer(t, map[string]webhook.Handler{
		"/validate": webhook.HandlerFunc(func(context.Context, webhook.Request) webhook.Response { panic("absurd") }),
	}, "--max-requests-in-flight=1")
	for range 3 {
		code, answer, err := s.post("/validate")
		if code != http.StatusOK || err != nil || answer.Allowed || answer.UID != "1" || answer.Result.Code != http.StatusInternalServerError ||
			!strings.Contains(answer.Result.Message, "absurd") {
			t.Errorf("answered %d, %v, %v", code, answer, err)
		}
	}
}

// TestServerOptions: the options reach the server.
func TestServerOptions(t *testing.T) {
	pemCertificate, _, err := cert.GenerateSelfSignedCertKey("ca", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pemCertificate, 0o600); err != nil {
		t.Fatal(err)
	}
	handlers := map[string]webhook.Handler{
		"/validate": webhook.HandlerFunc(func(context.Context, webhook.Request) webhook.Response { return webhook.Allowed("") }),
	}
	tests := []struct {
		reason string
		args   []string
		newest uint16
		code   int // 0: no connection
		says   string
	}{
		{"the defaults", nil, 0, http.StatusOK, ""},
		{"the defaults, for an old client", nil, tls.VersionTLS12, 0, "protocol version"},
		{"1.2, for an old client", []string{"--tls-min-version=1.2"}, tls.VersionTLS12, http.StatusOK, ""},
		{"clients need a certificate", []string{"--client-ca-file=" + file}, 0, 0, "certificate required"},
		{"few bytes", []string{"--max-request-bytes=10"}, 0, http.StatusRequestEntityTooLarge, ""},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			s := startServer(t, handlers, tc.args...)
			s.client.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tc.newest
			code, _, err := s.post("/validate")
			if code != tc.code || (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("answered with %d, %v", code, err)
			}
		})
	}
	settings, err := parse(t, "--client-ca-file="+file+"x").validate()
	if err != nil {
		t.Fatal(err)
	}
	_, err = newServer(t.Context(), settings, nil, handlers, prometheus.NewRegistry(), logr.Discard())
	if err == nil || !strings.Contains(err.Error(), "--client-ca-file: cannot read the CA of the clients: open "+file+"x") {
		t.Errorf("without the file: %v", err)
	}
}
