// Package certmanager runs cert-manager beside a local control plane: its own controllers that issue certificates, and
// its CA injector. They issue for self-signed and CA issuers. cert-manager's webhook is left out: what tests write
// needs no defaults of it.
package certmanager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/module"
	"github.com/meshwarden/meshwarden/e2e/process"
)

// startTimeout bounds how long the controllers may take until they work.
const startTimeout = 3 * time.Minute

// Options say how to run cert-manager.
type Options struct {
	// Binary is the path of the certmanager program. Required.
	Binary string
	// Dir takes the kubeconfig. Required.
	Dir string
	// Log gets the logs, in whole lines; nil drops them.
	Log io.Writer
}

// CertManager is a running cert-manager, in a process of its own: much of its state is global, so it would not start
// twice in one process, and its controllers can be paused and killed.
type CertManager struct {
	*process.Process
}

// CRDs returns cert-manager's CustomResourceDefinitions as YAML documents, from the module of this build. They have to
// be applied before Start. The working directory has to be inside the e2e module.
func CRDs(ctx context.Context) ([]byte, error) {
	dir, err := module.Dir(ctx, "github.com/cert-manager/cert-manager")
	if err != nil {
		return nil, fmt.Errorf("find cert-manager's CRDs: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "deploy", "crds", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(fmt.Errorf("find cert-manager's CRDs: no files in %s/deploy/crds", dir), err)
	}
	var documents [][]byte
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read cert-manager's CRDs: %w", err)
		}
		documents = append(documents, content)
	}
	return bytes.Join(documents, []byte("\n---\n")), nil
}

// Start starts cert-manager with the access of config and returns when its controllers are at work. ctx bounds the start
// only; the caller ends it with Stop.
func Start(ctx context.Context, config *rest.Config, o Options) (*CertManager, error) {
	if o.Binary == "" || o.Dir == "" {
		return nil, errors.New("start cert-manager: the path of the certmanager program or the folder is missing")
	}
	kubeconfig := filepath.Join(o.Dir, "certmanager.kubeconfig")
	if err := controlplane.WriteKubeconfig(config, kubeconfig); err != nil {
		return nil, fmt.Errorf("start cert-manager: %w", err)
	}
	ready := &firstLine{written: make(chan struct{})}
	child, err := process.Start(process.Config{
		Name: "cert-manager", Path: o.Binary, Args: []string{"--kubeconfig", kubeconfig, "-v=2"}, Stdout: ready, Log: o.Log,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case <-ready.written:
		return &CertManager{Process: child}, nil
	case <-child.Done():
		return nil, errors.Join(errors.New("start cert-manager: it ended before its controllers were at work"), child.Err())
	case <-ctx.Done():
		err := fmt.Errorf("start cert-manager: its controllers wait; are its CRDs applied? %w", context.Cause(ctx))
		return nil, errors.Join(err, child.Kill())
	}
}

// firstLine tells when anything was written: the program prints one line, when it is ready.
type firstLine struct {
	once    sync.Once
	written chan struct{}
}

// Write implements io.Writer.
func (f *firstLine) Write(p []byte) (int, error) {
	f.once.Do(func() { close(f.written) })
	return len(p), nil
}
