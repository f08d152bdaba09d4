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

// Observer is told which object changed, after the model has it. It is called by whoever feeds the model and must not
// block.
type Observer func(policy.Ref)

// Model is the mesh as far as it is known. It is safe for concurrent use: any number of readers never wait for the
// writer, and each object is held once.
type Model struct {
	db *memdb.MemDB

	// writing keeps the counts and the database in step, and the observers' calls in the order of the changes.
	writing   sync.Mutex
	counts    map[policy.Kind]int
	observers []Observer
}

// New returns an empty model.
func New() (*Model, error) {
	db, err := memdb.NewMemDB(schema())
	if err != nil {
		return nil, fmt.Errorf("cannot build the model's tables: %w", err)
	}
	return &Model{db: db, counts: map[policy.Kind]int{}}, nil
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
	return &World{txn: m.db.Snapshot().Txn(true)}
}

// Count returns how many objects of the kind the model holds.
func (m *Model) Count(kind policy.Kind) int {
	m.writing.Lock()
	defer m.writing.Unlock()
	return m.counts[kind]
}

// Put adds or replaces objects, each a *policy.Gateway or a *policy.VirtualService.
func (m *Model) Put(objects ...policy.Resource) error {
	return m.write(func(w *World) ([]policy.Ref, error) {
		refs := make([]policy.Ref, 0, len(objects))
		for _, o := range objects {
			if err := w.Put(o); err != nil {
				return nil, err
			}
			refs = append(refs, o.Ref())
		}
		return refs, nil
	})
}

// Remove removes an object, which need not be there.
func (m *Model) Remove(ref policy.Ref) error {
	return m.write(func(w *World) ([]policy.Ref, error) {
		return []policy.Ref{ref}, w.Remove(ref)
	})
}

// Replace makes the objects of a kind be the given ones and no others.
func (m *Model) Replace(kind policy.Kind, objects []policy.Resource) error {
	return m.write(func(w *World) ([]policy.Ref, error) {
		var refs []policy.Ref
		keep := make(map[policy.Ref]bool, len(objects))
		for _, o := range objects {
			keep[o.Ref()] = true
		}
		for _, ref := range w.Refs(kind) {
			if keep[ref] {
				continue
			}
			if err := w.Remove(ref); err != nil {
				return nil, err
			}
			refs = append(refs, ref)
		}
		for _, o := range objects {
			if err := w.Put(o); err != nil {
				return nil, err
			}
			refs = append(refs, o.Ref())
		}
		return refs, nil
	})
}

// write runs change in a transaction that readers see as a whole or not at all.
func (m *Model) write(change func(*World) ([]policy.Ref, error)) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	w := &World{txn: m.db.Txn(true), changed: map[policy.Kind]int{}}
	refs, err := change(w)
	if err != nil {
		w.txn.Abort()
		return fmt.Errorf("cannot change the model: %w", err)
	}
	w.txn.Commit()
	for kind, n := range w.changed {
		m.counts[kind] += n
	}
	for _, observe := range m.observers {
		for _, ref := range refs {
			observe(ref)
		}
	}
	return nil
}
