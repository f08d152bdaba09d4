package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/meshwarden/meshwarden/pkg/certificate"
)

// certificateFiles serves the key pair in a folder and follows its changes. The files may come later than the process:
// until then the replica is not ready, and a TLS handshake fails.
type certificateFiles struct {
	dir, certFile, keyFile string
	clock                  clock.PassiveClock
	log                    logr.Logger
	current                atomic.Pointer[certwatcher.CertWatcher]
	expiry                 *certificate.Expiry // nil: nobody asks
	observing              sync.Mutex          // what is observed last is what is current
}

func newCertificateFiles(dir string, log logr.Logger) *certificateFiles {
	return &certificateFiles{dir: dir, certFile: filepath.Join(dir, "tls.crt"), keyFile: filepath.Join(dir, "tls.key"), clock: clock.RealClock{}, log: log}
}

func (c *certificateFiles) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if w := c.current.Load(); w != nil {
		return w.GetCertificate(hello)
	}
	return nil, errors.New("no serving certificate is loaded yet")
}

func (c *certificateFiles) ready(*http.Request) error {
	served, err := c.get(nil)
	if err != nil {
		return fmt.Errorf("no serving certificate: %s and %s are not there or do not fit", c.certFile, c.keyFile)
	}
	// Another replica may have the next one already.
	if until := served.Leaf.NotAfter; c.clock.Now().After(until) {
		return fmt.Errorf("the serving certificate in %s expired at %s", c.certFile, until.UTC().Format(time.RFC3339))
	}
	return nil
}

func (c *certificateFiles) remedy() string {
	return fmt.Sprintf("find out why whoever renews the files in %s has not; with cert-manager, its Certificate says so", c.dir)
}

func (c *certificateFiles) add(mgr manager.Manager, expiry *certificate.Expiry) error {
	c.expiry = expiry
	if err := mgr.Add(c); err != nil {
		return fmt.Errorf("cannot add the serving certificate to the manager: %w", err)
	}
	return nil
}

// Start loads the key pair as soon as it is there and follows it from then on. It implements manager.Runnable.
func (c *certificateFiles) Start(ctx context.Context) error {
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
	// The watcher calls with its lock held, and more than once at a time.
	watcher.RegisterCallback(func(tls.Certificate) { go c.observe() })
	if err := watcher.Start(ctx); err != nil {
		return fmt.Errorf("cannot watch the serving certificate: %w", err)
	}
	return nil
}

// observe tells the expiry which certificate is served, and by which CA if the folder says so.
func (c *certificateFiles) observe() {
	c.observing.Lock()
	defer c.observing.Unlock()
	served, err := c.get(nil)
	if err != nil || c.expiry == nil {
		return
	}
	// cert-manager and --generate-certificate write the CA beside the certificate; whoever does not, has no metric of it.
	authorities, err := os.ReadFile(filepath.Join(c.dir, "ca.crt"))
	if err != nil {
		authorities = nil
	}
	c.expiry.Observe(served.Leaf, certificate.IssuerIn(authorities, served.Leaf))
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica serves.
func (c *certificateFiles) NeedLeaderElection() bool {
	return false
}
