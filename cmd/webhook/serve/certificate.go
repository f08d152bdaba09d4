package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// certificate serves the key pair in a folder and follows its changes. The files may come later than the process: until
// then the replica is not ready, and a TLS handshake fails.
type certificate struct {
	certFile, keyFile string
	log               logr.Logger
	current           atomic.Pointer[certwatcher.CertWatcher]
}

func newCertificate(dir string, log logr.Logger) *certificate {
	return &certificate{certFile: filepath.Join(dir, "tls.crt"), keyFile: filepath.Join(dir, "tls.key"), log: log}
}

// get is a tls.Config's GetCertificate.
func (c *certificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if w := c.current.Load(); w != nil {
		return w.GetCertificate(hello)
	}
	return nil, errors.New("no serving certificate is loaded yet")
}

// ready is a healthz.Checker.
func (c *certificate) ready(*http.Request) error {
	if c.current.Load() == nil {
		return fmt.Errorf("no serving certificate: %s and %s are not there or do not fit", c.certFile, c.keyFile)
	}
	return nil
}

// Start loads the key pair as soon as it is there and follows it from then on. It implements manager.Runnable.
func (c *certificate) Start(ctx context.Context) error {
	var watcher *certwatcher.CertWatcher
	failed := false
	err := wait.PollUntilContextCancel(ctx, time.Second, true, func(context.Context) (bool, error) {
		w, err := certwatcher.New(c.certFile, c.keyFile)
		if err != nil && !failed {
			failed = true
			c.log.Info("waiting for a serving certificate", "reason", err.Error())
		}
		watcher = w
		return err == nil, nil
	})
	if err != nil {
		return nil //nolint:nilerr // told to stop while waiting
	}
	c.current.Store(watcher)
	if err := watcher.Start(ctx); err != nil {
		return fmt.Errorf("cannot watch the serving certificate: %w", err)
	}
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica serves.
func (c *certificate) NeedLeaderElection() bool {
	return false
}
