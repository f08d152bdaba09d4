package mesh

import (
	"fmt"
	"iter"
	"slices"

	"github.com/hashicorp/go-memdb"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// World is a view of the mesh that belongs to one judgement. It implements policy.Mesh. It is not safe for concurrent
// use.
type World struct {
	txn *memdb.Txn
	// changed counts what a write added or took away, by kind. Only the model's own writes ask.
	changed map[policy.Kind]int
}

var _ policy.Mesh = (*World)(nil)

// Put adds the object to the world, or replaces the one of its name.
func (w *World) Put(o policy.Resource) error {
	ref := o.Ref()
	if w.changed != nil && w.get(ref) == nil {
		w.changed[ref.Kind]++
	}
	if err := w.txn.Insert(string(ref.Kind), o); err != nil {
		return fmt.Errorf("put %s: %w", ref, err)
	}
	return nil
}

// Remove takes the object out of the world. It need not be there.
func (w *World) Remove(ref policy.Ref) error {
	o := w.get(ref)
	if o == nil {
		return nil
	}
	if w.changed != nil {
		w.changed[ref.Kind]--
	}
	if err := w.txn.Delete(string(ref.Kind), o); err != nil {
		return fmt.Errorf("remove %s: %w", ref, err)
	}
	return nil
}

// Gateway implements policy.Mesh.
func (w *World) Gateway(key policy.Key) (*policy.Gateway, bool) {
	g, ok := w.get(policy.Ref{Kind: policy.KindGateway, Key: key}).(*policy.Gateway)
	return g, ok
}

// VirtualService returns the VirtualService of that name, or false when there is none.
func (w *World) VirtualService(key policy.Key) (*policy.VirtualService, bool) {
	v, ok := w.get(policy.Ref{Kind: policy.KindVirtualService, Key: key}).(*policy.VirtualService)
	return v, ok
}

// GatewaysNamed implements policy.Mesh.
func (w *World) GatewaysNamed(name string) iter.Seq[*policy.Gateway] {
	return func(yield func(*policy.Gateway) bool) {
		for o := range w.scan(policy.KindGateway, byName, name) {
			if g := o.(*policy.Gateway); g.Name == name && !yield(g) {
				return
			}
		}
	}
}

// VirtualServicesOf implements policy.Mesh.
func (w *World) VirtualServicesOf(gateway policy.Key) iter.Seq[*policy.VirtualService] {
	bound := func(ref policy.GatewayRef) bool { return !ref.Mesh && ref.Gateway == gateway }
	return func(yield func(*policy.VirtualService) bool) {
		for o := range w.scan(policy.KindVirtualService, byGateway, gateway) {
			// What the index finds is a candidate until compared, as the name that is asked for may be anybody's text.
			if v := o.(*policy.VirtualService); slices.ContainsFunc(v.Gateways, bound) && !yield(v) {
				return
			}
		}
	}
}

// Refs names every object of the kind, ordered by namespace and name.
func (w *World) Refs(kind policy.Kind) []policy.Ref {
	var refs []policy.Ref
	for o := range w.scan(kind, byID) {
		refs = append(refs, o.(policy.Resource).Ref())
	}
	return refs
}

func (w *World) get(ref policy.Ref) any {
	// The database fails only for a table or an index that the schema lacks, and a test uses each of them.
	o, err := w.txn.First(string(ref.Kind), byID, ref.Key)
	if err != nil {
		return nil
	}
	return o
}

func (w *World) scan(kind policy.Kind, index string, args ...any) iter.Seq[any] {
	return func(yield func(any) bool) {
		found, err := w.txn.Get(string(kind), index, args...)
		if err != nil {
			return
		}
		for o := found.Next(); o != nil; o = found.Next() {
			if !yield(o) {
				return
			}
		}
	}
}
