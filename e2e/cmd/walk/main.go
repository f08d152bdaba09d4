// Command walk starts a local control plane and Meshwarden, walks through Meshwarden's main job on the objects of the
// platform's own documentation, shows what the API server answers, and stays until it is interrupted. With -mesh, there is
// a whole Istio platform, and the walk goes on to injected pods and to what istiod serves.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// stopTimeout bounds how long the processes may take to stop.
const stopTimeout = time.Minute

// programs are paths. Without the mesh, the first two are enough.
type programs struct {
	controlPlane, webhook, installer, istiod, certManager string
}

func main() {
	var p programs
	flag.StringVar(&p.controlPlane, "controlplane", "", "the controlplane program")
	flag.StringVar(&p.webhook, "webhook", "", "Meshwarden's program")
	flag.StringVar(&p.installer, "installer", "", "the installer's program, for the mesh")
	flag.StringVar(&p.istiod, "istiod", "", "istiod's program, for the mesh")
	flag.StringVar(&p.certManager, "certmanager", "", "the certmanager program, for the mesh")
	mesh := flag.Bool("mesh", false, "start a whole Istio platform")
	stay := flag.Bool("stay", true, "stay until interrupted")
	flag.Parse()
	// The steps show the warnings and errors that matter; the libraries would repeat them.
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	if err := run(p, *mesh, *stay); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "walk:", err)
		os.Exit(1)
	}
}

// scene is where the walk takes place.
type scene struct {
	client     client.Client
	kubeconfig string
	// steps are those that come after the main ones; nil if none do.
	steps func(context.Context, *walker) error
	// look is what to try in another terminal, whose says what the log is.
	look, whose string
	// ended is closed when something has ended that should not have, and err says why. Nil if nobody watches.
	ended <-chan struct{}
	err   func() error
	// stops end what was started, the last first.
	stops []func(context.Context) error
}

// stop ends everything, although the run's own context may have ended.
func (s *scene) stop() error {
	var errs []error
	for _, stop := range slices.Backward(s.stops) {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		errs = append(errs, stop(ctx))
		cancel()
	}
	return errors.Join(errs...)
}

// run starts everything, walks, stays, and removes everything again.
func run(p programs, mesh, stay bool) (err error) {
	// A closed terminal and a closed pipe end the walk as well: what it started must not outlive it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	dir, err := os.MkdirTemp("", "meshwarden-")
	if err != nil {
		return fmt.Errorf("make a folder for the run: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logs, err := os.Create(filepath.Join(dir, "meshwarden.log"))
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer logs.Close() // the folder is removed next

	// What a start has started is in the scene, also if it fails.
	start := startScene
	if mesh {
		start = startMesh
	}
	s := &scene{}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := start(ctx, s, p, dir, logs); err != nil {
		return err
	}
	w := &walker{client: s.client, out: os.Stdout}
	if err := w.walk(ctx); err != nil {
		return err
	}
	if s.steps != nil {
		if err := s.steps(ctx, w); err != nil {
			return err
		}
	}
	if !stay {
		return nil
	}
	fmt.Printf("\nEverything keeps running. In another terminal:\n\n  export KUBECONFIG=%s\n%s\n%s: %s\nCtrl-C stops it and leaves nothing behind.\n",
		s.kubeconfig, s.look, s.whose, logs.Name())
	select {
	case <-ctx.Done():
		fmt.Println("\nStopping ...")
		return nil
	case <-s.ended:
		return s.err()
	}
}
