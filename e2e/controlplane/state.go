package controlplane

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/meshwarden/meshwarden/e2e/pki"
)

// state is the folder that a control plane keeps everything in.
type state struct {
	dir       string
	temporary bool
	lock      *os.File
}

// openState makes the folder, a temporary one if dir is empty, and takes it for
// this process alone.
func openState(dir string) (*state, error) {
	s := &state{dir: dir, temporary: dir == ""}
	if s.temporary {
		made, err := os.MkdirTemp("", "meshwarden-controlplane-")
		if err != nil {
			return nil, fmt.Errorf("make a temporary folder: %w", err)
		}
		s.dir = made
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *state) open() error {
	absolute, err := filepath.Abs(s.dir)
	if err != nil {
		return fmt.Errorf("find the folder %s: %w", s.dir, err)
	}
	s.dir = absolute
	if err := os.MkdirAll(s.path("pki"), 0o700); err != nil {
		return fmt.Errorf("make the folder for the state: %w", err)
	}
	lock, err := os.OpenFile(s.path(".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the lock of the state: %w", err)
	}
	s.lock = lock
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("another control plane uses %s; stop it or choose another folder", s.dir)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", s.dir, err)
	}
	return nil
}

// close gives the folder up and removes it if it is a temporary one.
func (s *state) close() error {
	var errs []error
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	if s.temporary {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

func (s *state) path(name string) string       { return filepath.Join(s.dir, name) }
func (s *state) kubeconfig() string            { return s.path("kubeconfig") }
func (s *state) routes() string                { return s.path("routes.json") }
func (s *state) stages() string                { return s.path("stages.yaml") }
func (s *state) caFile() string                { return s.path("pki/ca.crt") }
func (s *state) caKeyFile() string             { return s.path("pki/ca.key") }
func (s *state) serverFile() string            { return s.path("pki/server.crt") }
func (s *state) serverKeyFile() string         { return s.path("pki/server.key") }
func (s *state) serviceAccountFile() string    { return s.path("pki/service-accounts.crt") }
func (s *state) serviceAccountKeyFile() string { return s.path("pki/service-accounts.key") }

// roleKubeconfig is where a role that is a client of the API server finds its access.
func (s *state) roleKubeconfig(role Role) string { return s.path(string(role) + ".kubeconfig") }

// writeKeys writes the keys and certificates that all roles share, and returns the
// authority. The authority and the key that signs service account tokens stay the
// same from one start to the next, like the objects that depend on them.
func (s *state) writeKeys() (*pki.CA, error) {
	ca, err := s.authority()
	if err != nil {
		return nil, err
	}
	server, err := ca.Issue(pki.Identity{
		CommonName: "kube-apiserver",
		DNSNames:   []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPs:        []net.IP{net.ParseIP(loopback)},
	})
	if err != nil {
		return nil, err
	}
	if err := writePair(server, s.serverFile(), s.serverKeyFile()); err != nil {
		return nil, err
	}
	_, err = os.Stat(s.serviceAccountFile())
	if err == nil {
		return ca, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for the key of service accounts: %w", err)
	}
	serviceAccounts, err := ca.Issue(pki.Identity{CommonName: "service-accounts"})
	if err != nil {
		return nil, err
	}
	return ca, writePair(serviceAccounts, s.serviceAccountFile(), s.serviceAccountKeyFile())
}

// authority loads the certificate authority of an earlier start or makes a new one.
func (s *state) authority() (*pki.CA, error) {
	certificate, err := os.ReadFile(s.caFile())
	if errors.Is(err, fs.ErrNotExist) {
		ca, err := pki.NewCA("meshwarden-controlplane")
		if err != nil {
			return nil, err
		}
		return ca, writePair(ca.Pair(), s.caFile(), s.caKeyFile())
	}
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority: %w", err)
	}
	key, err := os.ReadFile(s.caKeyFile())
	if err != nil {
		return nil, fmt.Errorf("read the key of the certificate authority: %w", err)
	}
	return pki.LoadCA(pki.Pair{Certificate: certificate, Key: key})
}

// writePair writes the certificate last: where it is, its key is too.
func writePair(pair pki.Pair, certificateFile, keyFile string) error {
	if err := os.WriteFile(keyFile, pair.Key, 0o600); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	if err := os.WriteFile(certificateFile, pair.Certificate, 0o600); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}
