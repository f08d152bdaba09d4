package mesh

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/hashicorp/go-memdb"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// World is a view of the mesh that belongs to one judgement. It implements policy.Mesh. It is not safe for concurrent
// use.
//
// What is put into it and taken out lies beside the model's tables and not in them: it is a handful of objects, and to
// change a table costs the more the larger the table is.
type World struct {
	stored *memdb.Txn
	// edits are ordered by reference.
	edits []edit
	// secretsOf are the namespaces of which every Secret is known.
	secretsOf []string
	now       time.Time
}

// edit is what a world has otherwise than the model: the object, or nil for one that is removed.
type edit struct {
	ref    policy.Ref
	object policy.Resource
}

var _ policy.Mesh = (*World)(nil)

// At makes this the moment of judgement, and returns the world. Without it nothing is said that depends on the time.
func (w *World) At(now time.Time) *World {
	w.now = now
	return w
}

// Put adds the object to the world, or replaces the one of its name.
func (w *World) Put(o policy.Resource) error {
	if _, err := tableOf(o); err != nil {
		return err
	}
	w.edit(o.Ref(), o)
	return nil
}

// Remove takes the object out of the world. It need not be there.
func (w *World) Remove(ref policy.Ref) {
	w.edit(ref, nil)
}

func (w *World) edit(ref policy.Ref, o policy.Resource) {
	i, found := w.find(ref)
	if !found {
		w.edits = slices.Insert(w.edits, i, edit{ref: ref})
	}
	w.edits[i].object = o
}

func (w *World) find(ref policy.Ref) (position int, found bool) {
	return slices.BinarySearchFunc(w.edits, ref, func(e edit, r policy.Ref) int { return compareRefs(e.ref, r) })
}

func compareRefs(a, b policy.Ref) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// Object returns the object of that kind and name, or false when there is none.
func (w *World) Object(ref policy.Ref) (policy.Resource, bool) {
	if i, found := w.find(ref); found {
		return w.edits[i].object, w.edits[i].object != nil
	}
	o := lookUp(w.stored, ref)
	return o, o != nil
}

// Refs names every object of the kind, ordered by namespace and name.
func (w *World) Refs(kind policy.Kind) []policy.Ref {
	var refs []policy.Ref
	of := func(o policy.Resource) bool { return o.Ref().Kind == kind }
	for o := range among(w, tableFor(kind), byID+prefixed, kind, of) {
		refs = append(refs, o.Ref())
	}
	return refs
}

// among yields the objects of a table that match, in the order of their references: of the stored ones those that an index
// finds, and of the edits all. What an index finds is a candidate until it is compared, as what is asked for may be
// anybody's text.
func among[R policy.Resource](w *World, table, index string, arg any, matches func(R) bool) iter.Seq[R] {
	return func(yield func(R) bool) {
		edits := w.edits
		for o := range entries(w.stored, table, index, arg) {
			var ref policy.Ref
			if len(w.edits) > 0 {
				ref = o.Ref()
			}
			for len(edits) > 0 && compareRefs(edits[0].ref, ref) < 0 {
				if !offer(edits[0].object, matches, yield) {
					return
				}
				edits = edits[1:]
			}
			if len(edits) > 0 && edits[0].ref == ref {
				continue // the edit comes in its place
			}
			if !offer(o, matches, yield) {
				return
			}
		}
		for _, e := range edits {
			if !offer(e.object, matches, yield) {
				return
			}
		}
	}
}

func offer[R policy.Resource](o policy.Resource, matches func(R) bool, yield func(R) bool) bool {
	r, ok := o.(R)
	return !ok || !matches(r) || yield(r)
}

// prefixed makes an index be read by the beginning of its entries.
const prefixed = "_prefix"

// lookUp returns the object, or nil when there is none.
func lookUp(txn *memdb.Txn, ref policy.Ref) policy.Resource {
	// The database fails only for a table or an index that the schema lacks, and a test uses each of them.
	o, err := txn.First(tableFor(ref.Kind), byID, ref)
	if err != nil {
		return nil
	}
	r, _ := o.(policy.Resource)
	return r
}

func refsIn(txn *memdb.Txn, kind policy.Kind) []policy.Ref {
	return (&World{stored: txn}).Refs(kind)
}

func settingsIn(txn *memdb.Txn) policy.Settings {
	if s, err := txn.First(settingsTable, byID); err == nil && s != nil {
		return *s.(*policy.Settings)
	}
	return policy.Settings{}
}

func entries(txn *memdb.Txn, table, index string, arg any) iter.Seq[policy.Resource] {
	return func(yield func(policy.Resource) bool) {
		found, err := txn.Get(table, index, arg)
		if err != nil {
			return
		}
		for o := found.Next(); o != nil; o = found.Next() {
			if !yield(o.(policy.Resource)) {
				return
			}
		}
	}
}
