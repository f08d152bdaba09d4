package serve

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/cert"

	"github.com/meshwarden/meshwarden/pkg/certificate"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// TestCertificate follows a serving certificate through its life: the files come after the process, and are replaced.
func TestCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	c := newCertificateFiles(dir, logr.Discard())
	if c.NeedLeaderElection() {
		t.Error("a follower would not serve")
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Start(ctx) }()
	if err := c.ready(nil); err == nil || !strings.Contains(err.Error(), "tls.crt") {
		t.Errorf("ready without a certificate: %v", err)
	}
	if err := handshake(t, c, nil); err == nil || !strings.Contains(err.Error(), "no serving certificate is loaded yet") {
		t.Errorf("a handshake without a certificate: %v", err)
	}
	first := generate(t, dir)
	eventually(t, "loaded", func() bool { return c.ready(nil) == nil })
	if err := handshake(t, c, first); err != nil {
		t.Errorf("a handshake with the first certificate: %v", err)
	}
	// As a Secret's volume replaces them: both files at once, by renaming.
	next := t.TempDir()
	second := generate(t, next)
	for _, file := range []string{"tls.key", "tls.crt"} {
		if err := os.Rename(filepath.Join(next, file), filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "loaded again", func() bool { return handshake(t, c, second) == nil })
	if err := os.WriteFile(filepath.Join(dir, "tls.crt"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, c, second); err != nil || c.ready(nil) != nil {
		t.Errorf("a broken file takes the good certificate's place: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Start ended with %v", err)
	}
}

// TestSecretVolume follows a certificate as a kubelet replaces it: the files are links into a folder that is itself
// behind a link, which is changed at once, and the old folder goes.
func TestSecretVolume(t *testing.T) {
	volume := t.TempDir()
	write := func(version string) *x509.CertPool {
		t.Helper()
		roots := generate(t, filepath.Join(volume, version))
		next := filepath.Join(volume, "..data_tmp")
		if err := errors.Join(os.Symlink(version, next), os.Rename(next, filepath.Join(volume, "..data"))); err != nil {
			t.Fatal(err)
		}
		return roots
	}
	roots := write("..1")
	for _, file := range []string{"tls.crt", "tls.key", "ca.crt"} {
		if err := os.Symlink(filepath.Join("..data", file), filepath.Join(volume, file)); err != nil {
			t.Fatal(err)
		}
	}
	c := newCertificateFiles(volume, logr.Discard())
	registry := prometheus.NewRegistry()
	var err error
	if c.expiry, err = certificate.NewExpiry(certificate.ExpiryOptions{Metrics: registry}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Start(ctx) }()
	eventually(t, "loaded", func() bool { return c.ready(nil) == nil })
	for _, version := range []string{"..2", "..3"} {
		if err := handshake(t, c, roots); err != nil {
			t.Errorf("before version %s: %v", version, err)
		}
		before, err := os.Readlink(filepath.Join(volume, "..data"))
		if err != nil {
			t.Fatal(err)
		}
		roots = write(version)
		if err := os.RemoveAll(filepath.Join(volume, before)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "loaded version "+version, func() bool { return handshake(t, c, roots) == nil })
	}
	served, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "serving " + served.Leaf.NotAfter.String()
	eventually(t, "the metric of "+want, func() bool { return expiries(t, registry)["serving"].Equal(served.Leaf.NotAfter) })
	if got := expiries(t, registry)["ca"]; !got.After(served.Leaf.NotBefore) {
		t.Errorf("the CA of ca.crt expires %s", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Start ended with %v", err)
	}
}

// expiries returns the times that the metric tells.
func expiries(t *testing.T, from prometheus.Gatherer) map[string]time.Time {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]time.Time{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			times[m.GetLabel()[0].GetValue()] = time.Unix(int64(m.GetGauge().GetValue()), 0)
		}
	}
	return times
}

// TestServing: which of the two it is, and what is said when nobody renews it.
func TestServing(t *testing.T) {
	tests := []struct {
		reason string
		args   []string
		ready  string
		remedy string
		cached int // kinds of which the cache holds a part only
	}{
		{"the files of a folder", []string{"--cert-dir=/certs"}, "/certs/tls.crt and /certs/tls.key are not there", "the files in /certs", 1},
		{
			"a Secret",
			[]string{"--certificate-secret=cert", "--namespace=warden"},
			"the Secret of the serving certificate holds none yet",
			"kubectl -n warden annotate secret cert meshwarden.io/renew=certificate --overwrite", 4,
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			s, err := parse(t, tc.args...).validate()
			if err != nil {
				t.Fatal(err)
			}
			c := newServing(s, logr.Discard())
			if err := c.ready(nil); err == nil || !strings.Contains(err.Error(), tc.ready) {
				t.Errorf("ready: %v", err)
			}
			if _, err := c.get(nil); err == nil {
				t.Error("serves a certificate that it has not")
			}
			if !strings.Contains(c.remedy(), tc.remedy) {
				t.Errorf("remedy: %s", c.remedy())
			}
			if got := len(cached(s)); got != tc.cached {
				t.Errorf("%d kinds are cached in part", got)
			}
		})
	}
}

// TestCertificateStopsWaiting: a process that is told to stop before the files are there stops.
func TestCertificateStopsWaiting(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	c := newCertificateFiles(t.TempDir(), logr.Discard())
	if err := c.Start(ctx); err != nil || c.ready(nil) == nil {
		t.Errorf("Start ended with %v", err)
	}
}

func TestGenerateCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	roots := generate(t, dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, valid := range map[string]bool{
		"meshwarden-webhook.meshwarden.svc": true, "127.0.0.1": true, "::1": true, "localhost": true,
		"meshwarden-webhook.other.svc": false, "10.0.0.1": false,
	} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if (err == nil) != valid {
			t.Errorf("verified for %s: %v", name, err)
		}
	}
	ca, err := cert.CertsFromFile(filepath.Join(dir, "ca.crt"))
	if err != nil || len(ca) != 1 || pair.Leaf.CheckSignatureFrom(ca[0]) != nil {
		t.Errorf("ca.crt does not hold the one CA: %v, %v", ca, err)
	}
	before := contents(t, dir)
	if diff := cmp.Diff([]string{"ca.crt", "tls.crt", "tls.key"}, before.names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	generate(t, dir)
	if contents(t, dir).text != before.text {
		t.Error("a second start replaced what was there")
	}
	if info, err := os.Stat(filepath.Join(dir, "tls.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key can be read by others: %v, %v", info.Mode(), err)
	}
}

// TestGenerateCertificateKeeps: what somebody else put there is not touched, and a folder that cannot be is an error.
func TestGenerateCertificateKeeps(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tls.crt")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := generateCertificate(dir, "meshwarden"); err != nil || contents(t, dir).text != "mine" {
		t.Errorf("%v; the folder holds %v", err, contents(t, dir).names)
	}
	if err := generateCertificate(filepath.Join(file, "below"), "meshwarden"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder below a file: %v", err)
	}
}

type folder struct {
	names []string
	text  string
}

func contents(t *testing.T, dir string) folder {
	t.Helper()
	var f folder
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		f.names, f.text = append(f.names, e.Name()), f.text+string(b)
	}
	return f
}

// generate makes a certificate in the folder and returns its CA.
func generate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	if err := generateCertificate(dir, "meshwarden"); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("ca.crt holds no certificate")
	}
	return roots
}

// handshake shakes hands with a server that serves the certificate, and returns the server's fault or the client's.
func handshake(t *testing.T, c *certificateFiles, roots *x509.CertPool) error {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	server := tls.Server(far, &tls.Config{GetCertificate: c.get, MinVersion: tls.VersionTLS12})
	served := make(chan error, 1)
	go func() {
		defer far.Close()
		served <- server.HandshakeContext(t.Context())
	}()
	client := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "meshwarden-webhook.meshwarden.svc", MinVersion: tls.VersionTLS12})
	err := client.HandshakeContext(t.Context())
	if err != nil {
		near.Close()
	}
	return errors.Join(err, <-served)
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
