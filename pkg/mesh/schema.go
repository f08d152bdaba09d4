package mesh

import (
	"fmt"
	"strings"

	"github.com/hashicorp/go-memdb"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// The indexes. Their entries are ordered by namespace and name, so what is read through them comes in that order.
const (
	byID      = "id"
	byName    = "name"
	byGateway = "gateway"
)

func schema() *memdb.DBSchema {
	id := &memdb.IndexSchema{Name: byID, Unique: true, Indexer: idIndex{}}
	return &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{
		string(policy.KindGateway): {
			Name: string(policy.KindGateway),
			Indexes: map[string]*memdb.IndexSchema{
				byID:   id,
				byName: {Name: byName, Indexer: nameIndex{}},
			},
		},
		string(policy.KindVirtualService): {
			Name: string(policy.KindVirtualService),
			Indexes: map[string]*memdb.IndexSchema{
				byID:      id,
				byGateway: {Name: byGateway, AllowMissing: true, Indexer: gatewayIndex{}},
			},
		},
	}}
}

// idIndex finds an object by namespace and name.
type idIndex struct{}

func (idIndex) FromObject(o any) (bool, []byte, error) {
	object, ok := o.(policy.Resource)
	if !ok {
		return false, nil, fmt.Errorf("the model holds no %T", o)
	}
	return true, keyBytes(object.Ref().Key), nil
}

func (idIndex) FromArgs(args ...any) ([]byte, error) {
	return keyArg(args)
}

// nameIndex finds Gateways by name, whatever their namespace.
type nameIndex struct{}

func (nameIndex) FromObject(o any) (bool, []byte, error) {
	g, ok := o.(*policy.Gateway)
	if !ok {
		return false, nil, fmt.Errorf("not a Gateway: %T", o)
	}
	return true, []byte(g.Name + keyEnd), nil
}

func (nameIndex) FromArgs(args ...any) ([]byte, error) {
	name, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("not a name: %T", args[0])
	}
	return []byte(name + keyEnd), nil
}

// gatewayIndex finds VirtualServices by the Gateways that they name in spec.gateways. A reference is anybody's text: one
// with the byte that ends a key is left out, because it is no Gateway's and would be found as another one's.
type gatewayIndex struct{}

func (gatewayIndex) FromObject(o any) (bool, [][]byte, error) {
	v, ok := o.(*policy.VirtualService)
	if !ok {
		return false, nil, fmt.Errorf("not a VirtualService: %T", o)
	}
	var keys [][]byte
	for _, g := range v.Gateways {
		if !g.Mesh && !strings.Contains(g.Gateway.Namespace, keyEnd) && !strings.Contains(g.Gateway.Name, keyEnd) {
			keys = append(keys, keyBytes(g.Gateway))
		}
	}
	return len(keys) > 0, keys, nil
}

func (gatewayIndex) FromArgs(args ...any) ([]byte, error) {
	return keyArg(args)
}

func keyArg(args []any) ([]byte, error) {
	key, ok := args[0].(policy.Key)
	if !ok {
		return nil, fmt.Errorf("not a key: %T", args[0])
	}
	return keyBytes(key), nil
}

// keyEnd ends each part of a key: a byte that no name holds and that sorts before all that do. So no key is the beginning
// of another one, and keys are ordered by namespace first and by name second.
const keyEnd = "\x00"

func keyBytes(k policy.Key) []byte {
	b := make([]byte, 0, len(k.Namespace)+len(k.Name)+2*len(keyEnd))
	b = append(b, k.Namespace...)
	b = append(b, keyEnd...)
	b = append(b, k.Name...)
	return append(b, keyEnd...)
}
