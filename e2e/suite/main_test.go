package suite

import (
	"os"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// TestMain keeps the clients' own logs away from what tests report: what they warn of in passing, and that nobody said where to
// log. What Meshwarden and the other programs log is a test's to show.
func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	os.Exit(m.Run())
}
