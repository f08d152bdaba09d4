package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/meshwarden/meshwarden/e2e/meshwarden"
	"github.com/meshwarden/meshwarden/e2e/pki"
	"github.com/meshwarden/meshwarden/pkg/admission"
)

// clientCertificates are what an API server needs to present a certificate to Meshwarden, and Meshwarden to ask for it.
type clientCertificates struct {
	ca *pki.CA
	// configuration is the API server's --admission-control-config-file.
	configuration string
}

// newClientCertificates writes the files that docs/operations.md shows, with their folder in place of /etc/kubernetes.
func newClientCertificates(t *testing.T) clientCertificates {
	t.Helper()
	ca, err := pki.NewCA("webhook-clients")
	noError(t, "make a CA", err)
	pair, err := ca.Issue(pki.Identity{CommonName: "kube-apiserver"})
	noError(t, "issue a certificate", err)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"pki/webhooks.crt": string(pair.Certificate), "pki/webhooks.key": string(pair.Key),
		"admission.yaml":      strings.ReplaceAll(documented(t, "kind: AdmissionConfiguration"), "/etc/kubernetes", dir),
		"webhooks.kubeconfig": strings.ReplaceAll(documented(t, "kind: Config\n"), "/etc/kubernetes", dir),
	} {
		file := filepath.Join(dir, name)
		noError(t, "make a folder", os.MkdirAll(filepath.Dir(file), 0o700))
		noError(t, "write "+name, os.WriteFile(file, []byte(content), 0o600))
	}
	return clientCertificates{ca: ca, configuration: filepath.Join(dir, "admission.yaml")}
}

// trustClients writes the ConfigMap of the component client-ca.
func (e *environment) trustClients(t *testing.T, ca *pki.CA) {
	t.Helper()
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: meshwarden.Namespace, Name: "meshwarden-client-ca"}}
	_, err := controllerutil.CreateOrUpdate(t.Context(), e.client, o, func() error {
		o.Data = map[string]string{"ca.crt": string(ca.Pair().Certificate)}
		return nil
	})
	noError(t, "write the ConfigMap of the clients' CA", err)
}

// documented returns the YAML in docs/operations.md that holds the text.
func documented(t *testing.T, text string) string {
	t.Helper()
	b, err := os.ReadFile(repository("docs", "operations.md"))
	noError(t, "read the documentation", err)
	for _, after := range strings.Split(string(b), "\n```yaml\n")[1:] {
		if block, _, _ := strings.Cut(after, "```"); strings.Contains(block, text) {
			return block
		}
	}
	t.Fatalf("docs/operations.md has no YAML with %q", text)
	return ""
}

// connect connects to the first replica with a certificate for the name, or without one if it is empty.
func (c clientCertificates) connect(t *testing.T, e *environment, name string, maxVersion uint16) (*tls.Conn, error) {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, MaxVersion: maxVersion} // it is the server that is to check
	if name != "" {
		pair, err := c.ca.Issue(pki.Identity{CommonName: name})
		noError(t, "issue a certificate", err)
		certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
		noError(t, "load a certificate", err)
		config.Certificates = []tls.Certificate{certificate}
	}
	return tls.Dial("tcp", e.replicas[0].WebhookAddress(), config)
}

// The options on connections, on a real API server that presents a certificate.
func TestServerOptions(t *testing.T) {
	t.Parallel()
	certificates := newClientCertificates(t)
	e := start(t, setup{
		apiServerArgs: []string{"--admission-control-config-file=" + certificates.configuration},
		components:    []string{"client-ca"},
		before: func(t *testing.T, e *environment) {
			e.namespace(t, meshwarden.Namespace)
			e.trustClients(t, certificates.ca)
		},
		args: []string{"--client-names=kube-apiserver", "--max-requests-in-flight=1", "--max-request-bytes=100000", "--request-timeout=30s"},
	})
	e.namespace(t, "shop")
	e.mustApply(t, gateway("shop", "gw", "a.example.com"))
	t.Run("Clients", func(t *testing.T) { testClients(t, e, certificates) })
	t.Run("TooMany", func(t *testing.T) { testTooMany(t, e, certificates) })
	t.Run("TooLarge", func(t *testing.T) { testTooLarge(t, e) })
	t.Run("Flood", func(t *testing.T) { testFlood(t, e) })
	t.Run("APIServerRefused", func(t *testing.T) { testAPIServerRefused(t, e) })
}

// testClients: who but the API server may connect.
func testClients(t *testing.T, e *environment, certificates clientCertificates) {
	tests := []struct {
		reason, name string
		maxVersion   uint16
		says         string // empty: let in
	}{
		{"the API server's own certificate", "kube-apiserver", 0, ""},
		{"a certificate for another name", "somebody", 0, "bad certificate"},
		{"no certificate", "", 0, "certificate required"},
		{"an old version of TLS", "kube-apiserver", tls.VersionTLS12, "protocol version"},
	}
	for _, tc := range tests {
		c, err := certificates.connect(t, e, tc.name, tc.maxVersion)
		if err == nil {
			// Whether it was let in shows only in the first answer.
			_, err = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			answer, readErr := io.ReadAll(c)
			if err = errors.Join(err, readErr); err == nil && !strings.HasPrefix(string(answer), "HTTP/1.1 404 ") {
				t.Errorf("%s: answered with %q", tc.reason, answer)
			}
			c.Close()
		}
		if tc.says == "" {
			noError(t, tc.reason, err)
		} else {
			wantError(t, tc.reason, err, tc.says)
		}
	}
}

// testTooMany: a write that finds Meshwarden busy is tried again by the API server and goes through; namespaces notice
// nothing.
func testTooMany(t *testing.T, e *environment, certificates clientCertificates) {
	slow, err := certificates.connect(t, e, "kube-apiserver", 0)
	noError(t, "connect", err)
	defer slow.Close()
	_, err = fmt.Fprintf(slow, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n", admission.ValidatePath)
	noError(t, "begin a request", err)
	e.metric(t, fmt.Sprintf(`controller_runtime_webhook_requests_in_flight{webhook=%q} 1`, admission.ValidatePath))
	written := make(chan error, 1)
	go func() { written <- e.apply(t.Context(), virtualService("shop", "patient", "a.example.com", "gw")) }()
	e.eventually(t, "a request is rejected", func(ctx context.Context) error {
		text, err := e.replicas[0].Metrics(ctx)
		if err == nil && strings.Contains(text, `meshwarden_requests_rejected_total{reason="too_many"} 0`) {
			err = errors.New("none was so far")
		}
		return err
	})
	e.namespace(t, "meanwhile")
	if n := e.getNamespace(t, "meanwhile"); n.Labels["istio-injection"] != "enabled" {
		t.Errorf("a namespace that came meanwhile has labels %v", n.Labels)
	}
	noError(t, "end the request", slow.Close())
	noError(t, "the write that was told to come again", <-written)
}

// testTooLarge: what is too large to be judged is refused with what to do about it. Where that would block a namespace, it
// is let in, and the controller does what the webhook could not.
func testTooLarge(t *testing.T, e *environment) {
	large := strings.Replace(virtualService("shop", "large", "a.example.com", "gw"), "name: large", "name: large, annotations: {pad: "+strings.Repeat("x", 100_000)+"}", 1)
	wantError(t, "a large object", e.apply(t.Context(), large),
		`failed calling webhook "virtualservice.meshwarden.io"`, "meshwarden takes up to 100000 bytes and was sent 1", "make the object smaller, or set its --max-request-bytes higher")
	e.metric(t, `meshwarden_requests_rejected_total{reason="too_large"} 1`)
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "large", Annotations: map[string]string{"pad": strings.Repeat("x", 100_000)}}}
	noError(t, "create a large namespace", e.client.Create(t.Context(), n))
	e.waitPolicy(t, "large")
}

// testFlood: many clients at once, and one request at a time. The API server tries each again until it is let in.
func testFlood(t *testing.T, e *environment) {
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprintf("flood-%d", i)
	}
	concurrently(t, 4, names, func(ctx context.Context, name string) error {
		return e.apply(ctx, virtualService("shop", name, "a.example.com", "gw"))
	}, func() {})
}

// testAPIServerRefused: what a client sees where Meshwarden asks for another certificate than the API server has.
func testAPIServerRefused(t *testing.T, e *environment) {
	other, err := pki.NewCA("other")
	noError(t, "make a CA", err)
	e.trustClients(t, other)
	// It is asked for with new connections only, and the API server has one.
	noError(t, "stop Meshwarden", e.replicas[0].Stop(background(t)))
	e.replicas[0] = e.startReplica(t)
	e.eventually(t, "a write is told why", func(ctx context.Context) error {
		err := e.apply(ctx, virtualService("shop", "late", "a.example.com", "gw"))
		wantError(t, "a write", err, `failed calling webhook "virtualservice.meshwarden.io"`)
		// Of a connection that is closed while it still writes, the API server may come to know only that.
		if !strings.Contains(err.Error(), "tls: ") {
			return err
		}
		return nil
	})
	e.eventually(t, "the log says who was refused", func(context.Context) error {
		if lines := e.log.find("TLS handshake error"); !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "kube-apiserver") }) {
			return fmt.Errorf("it does not:\n%s", strings.Join(lines, "\n"))
		}
		return nil
	})
}
