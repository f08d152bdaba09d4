package mesh

import (
	"encoding/binary"
	"strings"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// keyEnd ends each part of an id: a byte that no name holds and that sorts before all that do. So no id is the beginning
// of another one, and ids are ordered by namespace first and by name second.
const keyEnd = "\x00"

// idBytes is an object's key within its table: of a workload, the kind is part of it.
func idBytes(ref policy.Ref) []byte {
	b := make([]byte, 0, len(ref.Kind)+len(ref.Namespace)+len(ref.Name)+3*len(keyEnd))
	return appendKey(append(b, kindBytes(ref.Kind)...), ref.Key)
}

// kindBytes is what the ids of all objects of a kind begin with.
func kindBytes(kind policy.Kind) []byte {
	if tableFor(kind) != workloadTable {
		return nil
	}
	return append([]byte(kind), keyEnd...)
}

func appendKey(b []byte, k policy.Key) []byte {
	b = append(append(b, k.Namespace...), keyEnd...)
	return append(append(b, k.Name...), keyEnd...)
}

func nameKey(name string) []byte {
	return []byte(name + keyEnd)
}

func gatewayName(o any) [][]byte {
	return [][]byte{nameKey(o.(*policy.Gateway).Name)}
}

func secretName(o any) [][]byte {
	return [][]byte{nameKey(o.(*policy.Secret).Name)}
}

// certificateSecret is the name of the Secret that a Certificate writes.
func certificateSecret(o any) [][]byte {
	return secretKeys(o.(*policy.Certificate).SecretName)
}

// gatewayCredentials are the names of the Secrets that a Gateway's verdict may depend on.
func gatewayCredentials(o any) [][]byte {
	return secretKeys(o.(*policy.Gateway).SecretNames()...)
}

// secretKeys are the keys of what refers to Secrets by these names. A reference is anybody's text, as that of a VirtualService
// to a Gateway is.
func secretKeys(names ...string) [][]byte {
	var keys [][]byte
	for _, name := range names {
		if canName(name) {
			keys = append(keys, nameKey(name))
		}
	}
	return keys
}

// canName says whether an object may have the name, as far as keys depend on it.
func canName(name string) bool {
	return !strings.Contains(name, keyEnd)
}

func gatewayKey(k policy.Key) []byte {
	return appendKey(make([]byte, 0, len(k.Namespace)+len(k.Name)+2*len(keyEnd)), k)
}

// boundGateways are the Gateways that a VirtualService names in spec.gateways. A reference is anybody's text: one with the
// byte that ends a key is left out, because it is no Gateway's and would be found as another one's.
func boundGateways(o any) [][]byte {
	var keys [][]byte
	for _, g := range o.(*policy.VirtualService).Gateways {
		if !g.Mesh && canName(g.Gateway.Namespace) && canName(g.Gateway.Name) {
			keys = append(keys, gatewayKey(g.Gateway))
		}
	}
	return keys
}

// pair is a label and its value.
type pair struct {
	label, value string
}

// smallest returns the pair whose label comes first, or the zero pair for no labels at all.
func smallest(labels map[string]string) pair {
	var first pair
	found := false
	for label, value := range labels {
		if !found || label < first.label {
			first, found = pair{label, value}, true
		}
	}
	return first
}

// key is the pair's entry in an index. Selectors are anybody's text, so each part begins with its length: no key is the
// beginning of another one.
func (p pair) key() []byte {
	return p.appendTo(make([]byte, 0, len(p.label)+len(p.value)+2*binary.MaxVarintLen16))
}

func (p pair) appendTo(b []byte) []byte {
	return appendText(appendText(b, p.label), p.value)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// noPair is where Gateways without a selector stand: as the zero pair.
func noPair() pair { return pair{} }

// gatewaySelector are the pairs of a Gateway's selector.
func gatewaySelector(o any) [][]byte {
	g := o.(*policy.Gateway)
	if len(g.Selector) == 0 {
		return [][]byte{noPair().key()}
	}
	return pairKeys(g.Selector)
}

func workloadLabels(o any) [][]byte {
	return pairKeys(o.(*policy.Workload).Labels)
}

func pairKeys(labels map[string]string) [][]byte {
	keys := make([][]byte, 0, len(labels))
	for label, value := range labels {
		keys = append(keys, pair{label, value}.key())
	}
	return keys
}

// serviceKey is where a Service stands whose selector begins with the pair.
func serviceKey(namespace string, first pair) []byte {
	return first.appendTo(appendText(nil, namespace))
}

// serviceSelector is the first pair of a Service's selector: one is enough to find it, and without any it selects nothing.
func serviceSelector(o any) [][]byte {
	s := o.(*policy.Service)
	if len(s.Selector) == 0 {
		return nil
	}
	return [][]byte{serviceKey(s.Namespace, smallest(s.Selector))}
}

// routerKey is where all workloads stand that are known to be gateways.
func routerKey() []byte { return []byte{1} }

func routers(o any) [][]byte {
	if o.(*policy.Workload).Router {
		return [][]byte{routerKey()}
	}
	return nil
}
