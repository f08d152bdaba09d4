// Package mesh holds the indexed, in-memory model of the mesh that the rules read. It is fed by informers or from files,
// knows neither, and hands out worlds: consistent views to which a submitted object can be applied without anybody else
// seeing it.
package mesh

import (
	"fmt"
	"sync"

	"github.com/hashicorp/go-memdb"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Change is one change of the model.
type Change struct {
	// Ref names the object. The zero Ref stands for the mesh-wide settings.
	Ref policy.Ref
	// Before is the object as it was, or nil when there was none.
	Before policy.Resource
}

// Observer is told of a change after the model has it. It is called by whoever feeds the model and must not block.
type Observer func(Change)

// Model is the mesh as far as it is known. It is safe for concurrent use: any number of readers never wait for the
// writer, and each object is held once.
type Model struct {
	db *memdb.MemDB

	// writing keeps the counts and the database in step, and the observers' calls in the order of the changes.
	writing   sync.Mutex
	counts    map[policy.Kind]int
	observers []Observer
	secretsOf []string
}

// New returns an empty model.
func New() (*Model, error) {
	db, err := memdb.NewMemDB(schema())
	if err != nil {
		return nil, fmt.Errorf("cannot build the model's tables: %w", err)
	}
	return &Model{db: db, counts: map[policy.Kind]int{}}, nil
}

// KnowSecrets says of which namespaces the model is given every Secret that holds something for TLS: one that is not there is
// missing. policy.EveryNamespace stands for all of them. It is called before anything else is done with the model.
func (m *Model) KnowSecrets(namespaces ...string) {
	m.secretsOf = namespaces
}

// Subscribe has the observer called after each change from now on.
func (m *Model) Subscribe(o Observer) {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.observers = append(m.observers, o)
}

// World returns a view of the model as it is now, in which objects can be put and removed. What happens to the model or
// to other worlds later does not show in it.
func (m *Model) World() *World {
	return &World{stored: m.db.Txn(false), secretsOf: m.secretsOf}
}

// Count returns how many objects of the kind the model holds.
func (m *Model) Count(kind policy.Kind) int {
	m.writing.Lock()
	defer m.writing.Unlock()
	return m.counts[kind]
}

// Put adds or replaces objects. What is neither a Gateway nor a VirtualService and is as it was changes nothing, and nobody is
// told: most changes of these are to what the model does not hold.
func (m *Model) Put(objects ...policy.Resource) error {
	return m.write(func(w *writer) error { return w.put(objects) })
}

// Remove removes an object, which need not be there.
func (m *Model) Remove(ref policy.Ref) error {
	return m.write(func(w *writer) error { return w.remove(ref) })
}

// Replace makes the objects of a kind be the given ones and no others.
func (m *Model) Replace(kind policy.Kind, objects []policy.Resource) error {
	return m.write(func(w *writer) error {
		keep := make(map[policy.Ref]bool, len(objects))
		for _, o := range objects {
			keep[o.Ref()] = true
		}
		for _, ref := range refsIn(w.txn, kind) {
			if keep[ref] {
				continue
			}
			if err := w.remove(ref); err != nil {
				return err
			}
		}
		return w.put(objects)
	})
}

// Configure makes these the mesh-wide settings. Observers are told with the zero Ref; ones that are as they were change
// nothing.
func (m *Model) Configure(settings policy.Settings) error {
	return m.write(func(w *writer) error { return w.configure(settings) })
}

// write runs change in a transaction that readers see as a whole or not at all.
func (m *Model) write(change func(*writer) error) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	w := &writer{txn: m.db.Txn(true), counts: map[policy.Kind]int{}}
	if err := change(w); err != nil {
		w.txn.Abort()
		return fmt.Errorf("cannot change the model: %w", err)
	}
	w.txn.Commit()
	for kind, n := range w.counts {
		m.counts[kind] += n
	}
	for _, observe := range m.observers {
		for _, c := range w.changes {
			observe(c)
		}
	}
	return nil
}
