package mesh

import (
	"fmt"

	"github.com/hashicorp/go-memdb"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// The tables.
const (
	gatewayTable        = string(policy.KindGateway)
	virtualServiceTable = string(policy.KindVirtualService)
	serviceTable        = string(policy.KindService)
	workloadTable       = "Workload"
	settingsTable       = "Settings"
	secretTable         = string(policy.KindSecret)
	certificateTable    = string(policy.KindCertificate)
)

// The indexes. Their entries end in the object's id, so what is read through one key of them comes in the order of the
// ids.
const (
	byID         = "id"
	byName       = "name"
	byGateway    = "gateway"
	byLabel      = "label"
	byRouter     = "router"
	bySelector   = "selector"
	bySecret     = "secret"
	byCredential = "credential"
)

func schema() *memdb.DBSchema {
	id := &memdb.IndexSchema{Name: byID, Unique: true, Indexer: idIndex{}}
	table := func(name string, indexes ...*memdb.IndexSchema) *memdb.TableSchema {
		t := &memdb.TableSchema{Name: name, Indexes: map[string]*memdb.IndexSchema{}}
		for _, ix := range indexes {
			t.Indexes[ix.Name] = ix
		}
		return t
	}
	return &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		gatewayTable: table(gatewayTable, id,
			&memdb.IndexSchema{Name: byName, Indexer: keysIndex(gatewayName)},
			&memdb.IndexSchema{Name: bySelector, Indexer: keysIndex(gatewaySelector)},
			&memdb.IndexSchema{Name: byCredential, AllowMissing: true, Indexer: keysIndex(gatewayCredentials)}),
		virtualServiceTable: table(virtualServiceTable, id,
			&memdb.IndexSchema{Name: byGateway, AllowMissing: true, Indexer: keysIndex(boundGateways)}),
		serviceTable: table(serviceTable, id,
			&memdb.IndexSchema{Name: bySelector, AllowMissing: true, Indexer: keysIndex(serviceSelector)}),
		workloadTable: table(workloadTable, id,
			&memdb.IndexSchema{Name: byLabel, AllowMissing: true, Indexer: keysIndex(workloadLabels)},
			&memdb.IndexSchema{Name: byRouter, AllowMissing: true, Indexer: keysIndex(routers)}),
		secretTable: table(secretTable, id,
			&memdb.IndexSchema{Name: byName, Indexer: keysIndex(secretName)}),
		certificateTable: table(certificateTable, id,
			&memdb.IndexSchema{Name: bySecret, AllowMissing: true, Indexer: keysIndex(certificateSecret)}),
		settingsTable: table(settingsTable, &memdb.IndexSchema{Name: byID, Unique: true, Indexer: singleIndex{}}),
	}}
}

// tableFor names the table that holds the objects of a kind. There is none for a kind that the model does not hold.
func tableFor(kind policy.Kind) string {
	switch kind {
	case policy.KindDeployment, policy.KindDaemonSet, policy.KindStatefulSet, policy.KindPod:
		return workloadTable
	}
	return string(kind)
}

// tableOf names the table that the object goes into, and fails for one that the model does not hold.
func tableOf(o policy.Resource) (string, error) {
	kind, held := o.Ref().Kind, false
	switch o.(type) {
	case *policy.Gateway:
		held = kind == policy.KindGateway
	case *policy.VirtualService:
		held = kind == policy.KindVirtualService
	case *policy.Service:
		held = kind == policy.KindService
	case *policy.Secret:
		held = kind == policy.KindSecret
	case *policy.Certificate:
		held = kind == policy.KindCertificate
	case *policy.Workload:
		held = tableFor(kind) == workloadTable
	}
	if !held {
		return "", fmt.Errorf("put %s: the model holds no %T as a %s", o.Ref(), o, kind)
	}
	return tableFor(kind), nil
}

// idIndex finds objects by their reference, or all those of a kind.
type idIndex struct{}

func (idIndex) FromObject(o any) (bool, []byte, error) {
	object, ok := o.(policy.Resource)
	if !ok {
		return false, nil, fmt.Errorf("the model holds no %T", o)
	}
	return true, idBytes(object.Ref()), nil
}

func (idIndex) FromArgs(args ...any) ([]byte, error) {
	ref, ok := args[0].(policy.Ref)
	if !ok {
		return nil, fmt.Errorf("not a reference: %T", args[0])
	}
	return idBytes(ref), nil
}

// PrefixFromArgs implements memdb.PrefixIndexer.
func (idIndex) PrefixFromArgs(args ...any) ([]byte, error) {
	kind, ok := args[0].(policy.Kind)
	if !ok {
		return nil, fmt.Errorf("not a kind: %T", args[0])
	}
	return kindBytes(kind), nil
}

// keysIndex finds objects by any number of keys.
type keysIndex func(o any) [][]byte

// FromObject implements memdb.MultiIndexer.
func (keys keysIndex) FromObject(o any) (bool, [][]byte, error) {
	k := keys(o)
	return len(k) > 0, k, nil
}

// FromArgs implements memdb.Indexer.
func (keys keysIndex) FromArgs(args ...any) ([]byte, error) {
	key, ok := args[0].([]byte)
	if !ok {
		return nil, fmt.Errorf("not a key: %T", args[0])
	}
	return key, nil
}

// singleIndex is the index of a table with one row.
type singleIndex struct{}

func (singleIndex) FromObject(any) (bool, []byte, error) { return true, []byte{0}, nil }

func (singleIndex) FromArgs(...any) ([]byte, error) { return []byte{0}, nil }
