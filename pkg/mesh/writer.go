package mesh

import (
	"fmt"
	"reflect"

	"github.com/hashicorp/go-memdb"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// writer changes the model in one transaction and notes what it does.
type writer struct {
	txn     *memdb.Txn
	changes []Change
	// counts is how many objects are added or taken away, by kind.
	counts map[policy.Kind]int
}

func (w *writer) put(objects []policy.Resource) error {
	for _, o := range objects {
		table, err := tableOf(o)
		if err != nil {
			return err
		}
		ref := o.Ref()
		before := lookUp(w.txn, ref)
		if before != nil && unchanged(before, o) {
			continue
		}
		if err := w.txn.Insert(table, o); err != nil {
			return fmt.Errorf("put %s: %w", ref, err)
		}
		if before == nil {
			w.counts[ref.Kind]++
		}
		w.changes = append(w.changes, Change{Ref: ref, Before: before})
	}
	return nil
}

// unchanged says whether what is put is there already. It looks at what rules read for the sake of others: these are the
// objects that change all the time in what the model does not hold, above all their status.
func unchanged(before, after policy.Resource) bool {
	switch after.(type) {
	case *policy.Workload, *policy.Service, *policy.Secret, *policy.Certificate:
		return reflect.DeepEqual(before, after)
	}
	return false
}

func (w *writer) remove(ref policy.Ref) error {
	before := lookUp(w.txn, ref)
	w.changes = append(w.changes, Change{Ref: ref, Before: before})
	if before == nil {
		return nil
	}
	if err := w.txn.Delete(tableFor(ref.Kind), before); err != nil {
		return fmt.Errorf("remove %s: %w", ref, err)
	}
	w.counts[ref.Kind]--
	return nil
}

func (w *writer) configure(settings policy.Settings) error {
	if reflect.DeepEqual(settingsIn(w.txn), settings) {
		return nil
	}
	if err := w.txn.Insert(settingsTable, &settings); err != nil {
		return fmt.Errorf("put the settings: %w", err)
	}
	w.changes = append(w.changes, Change{})
	return nil
}
