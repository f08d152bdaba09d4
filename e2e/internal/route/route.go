// Package route tells a local API server where webhook Services lead.
//
// It stands in for kube-proxy and the EndpointSlices of a real cluster: there are
// no nodes and no Pods here, so nothing else could turn the Service that a webhook
// configuration names into an address. The parent process writes a small table to
// a file and the API server, in its own process, reads it.
package route

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// Table maps Services (see Key) to the host:port addresses behind them. A Service
// without addresses is one whose Pods are all gone.
type Table map[string][]string

// Key is how a Service's port is named in a Table.
func Key(namespace, service string, port int32) string {
	return namespace + "/" + service + ":" + strconv.Itoa(int(port))
}

// Validate checks that all addresses are of the form host:port.
func (t Table) Validate() error {
	for key, addresses := range t {
		for _, address := range addresses {
			if _, _, err := net.SplitHostPort(address); err != nil {
				return fmt.Errorf("route %s: address %q is not host:port: %w", key, address, err)
			}
		}
	}
	return nil
}

// Write replaces the table in a file: readers see the old one or the new one.
func Write(path string, table Table) error {
	content, err := json.MarshalIndent(table, "", "  ")
	if err != nil {
		return fmt.Errorf("encode routes: %w", err)
	}
	// A name of its own in the same folder, since only then is a rename atomic.
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return fmt.Errorf("write routes: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(fmt.Errorf("replace routes: %w", err), os.Remove(temporary))
	}
	return nil
}

// Read returns the table in a file; it is empty when there is no file.
func Read(path string) (Table, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Table{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	table := Table{}
	if err := json.Unmarshal(content, &table); err != nil {
		return nil, fmt.Errorf("decode routes in %s: %w", path, err)
	}
	return table, nil
}

// Resolver resolves Services by the table in a file, as it is at that moment. It
// has the method that the API server expects of a service resolver.
type Resolver struct {
	path string

	mu    sync.Mutex
	turns map[string]int
}

// NewResolver returns a resolver that follows the table in the file at path.
func NewResolver(path string) *Resolver {
	return &Resolver{path: path, turns: map[string]int{}}
}

// ResolveEndpoint returns the address of a Service's port; several addresses take
// turns. It fails as a real cluster does: with "not found" for a Service that has
// no route and with "connection refused" for one that has no addresses.
func (r *Resolver) ResolveEndpoint(namespace, service string, port int32) (*url.URL, error) {
	// The file is read each time, which costs microseconds: any cheaper check for a
	// change could miss one, and a test relies on a route from the moment it is set.
	table, err := Read(r.path)
	if err != nil {
		return nil, err
	}
	key := Key(namespace, service, port)
	addresses, ok := table[key]
	switch {
	case !ok:
		return nil, fmt.Errorf("service %s not found", key)
	case len(addresses) == 0:
		return nil, fmt.Errorf("service %s has no endpoints: %w", key, syscall.ECONNREFUSED)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	turn := r.turns[key] % len(addresses)
	r.turns[key] = turn + 1
	return &url.URL{Scheme: "https", Host: addresses[turn]}, nil
}
