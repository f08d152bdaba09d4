package serve

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// TestDrained: serving goes on for the delay after the process was told to stop, and no longer.
func TestDrained(t *testing.T) {
	tests := []struct {
		reason string
		delay  time.Duration
	}{
		{"the default", 5 * time.Second},
		{"at once", 0},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				later := drained(ctx, tc.delay, logr.Discard())
				synctest.Wait()
				if later.Err() != nil {
					t.Fatal("stopped before it was told to")
				}
				told := time.Now()
				stop()
				<-later.Done()
				if took := time.Since(told); took != tc.delay { // the bubble's time, which nothing else moves
					t.Errorf("stopped after %s", took)
				}
			})
		})
	}
}

// TestInstallation: asked until it is known, and never again.
func TestInstallation(t *testing.T) {
	since := metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	asked, broken := 0, true
	i := &installation{name: "meshwarden", reader: fake.NewClientBuilder().WithObjects(
		&admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "meshwarden", CreationTimestamp: since}},
	).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if asked++; broken {
				return errors.New("timed out")
			}
			return c.Get(ctx, key, o, opts...)
		},
	}).Build()}
	for range 2 {
		if got, err := i.time(t.Context()); err == nil || !got.IsZero() {
			t.Errorf("an error gives %v, %v", got, err)
		}
	}
	broken = false
	for range 3 {
		if got, err := i.time(t.Context()); err != nil || !got.Equal(since.Time) {
			t.Errorf("installed %v, %v", got, err)
		}
	}
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	i = &installation{name: "other", reader: fake.NewClientBuilder().Build()}
	if _, err := i.time(t.Context()); err == nil {
		t.Error("a configuration that does not exist has an age")
	}
}

// TestRestConfig: the client waits for nobody but the API server.
func TestRestConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	content := `{"apiVersion":"v1","kind":"Config","current-context":"a","contexts":[{"name":"a","context":{"cluster":"b"}}],
		"clusters":[{"name":"b","cluster":{"server":"https://127.0.0.1:6443"}}]}`
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := restConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.Host != "https://127.0.0.1:6443" || got.QPS >= 0 || got.RateLimiter != nil || got.UserAgent != "meshwarden" {
		t.Errorf("host %s, QPS %v, user agent %s", got.Host, got.QPS, got.UserAgent)
	}
}

// TestStartedFlag: the replica is not ready before the manager has started its parts.
func TestStartedFlag(t *testing.T) {
	f := &startedFlag{}
	if f.ready(nil) == nil || f.NeedLeaderElection() {
		t.Error("ready before it is started, or only as the leader")
	}
	if err := f.Start(t.Context()); err != nil || f.ready(nil) != nil {
		t.Errorf("not ready after the start: %v, %v", err, f.ready(nil))
	}
}
