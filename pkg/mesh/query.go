package mesh

import (
	"iter"
	"slices"
	"time"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Gateway implements policy.Mesh.
func (w *World) Gateway(key policy.Key) (*policy.Gateway, bool) {
	o, _ := w.Object(policy.Ref{Kind: policy.KindGateway, Key: key})
	g, ok := o.(*policy.Gateway)
	return g, ok
}

// VirtualService returns the VirtualService of that name, or false when there is none.
func (w *World) VirtualService(key policy.Key) (*policy.VirtualService, bool) {
	o, _ := w.Object(policy.Ref{Kind: policy.KindVirtualService, Key: key})
	v, ok := o.(*policy.VirtualService)
	return v, ok
}

// GatewaysNamed implements policy.Mesh.
func (w *World) GatewaysNamed(name string) iter.Seq[*policy.Gateway] {
	return among(w, gatewayTable, byName, nameKey(name), func(g *policy.Gateway) bool { return g.Name == name })
}

// VirtualServicesOf implements policy.Mesh.
func (w *World) VirtualServicesOf(gateway policy.Key) iter.Seq[*policy.VirtualService] {
	bound := func(ref policy.GatewayRef) bool { return !ref.Mesh && ref.Gateway == gateway }
	return among(w, virtualServiceTable, byGateway, gatewayKey(gateway), func(v *policy.VirtualService) bool {
		return slices.ContainsFunc(v.Gateways, bound)
	})
}

// WorkloadsSelectedBy implements policy.Mesh.
func (w *World) WorkloadsSelectedBy(selector map[string]string) iter.Seq[*policy.Workload] {
	if len(selector) == 0 {
		return among(w, workloadTable, byRouter, routerKey(), func(o *policy.Workload) bool { return o.Router })
	}
	return among(w, workloadTable, byLabel, smallest(selector).key(), func(o *policy.Workload) bool {
		return holds(o.Labels, selector)
	})
}

// Routers implements policy.Mesh.
func (w *World) Routers() bool {
	for range w.WorkloadsSelectedBy(nil) {
		return true
	}
	return false
}

// GatewaysSelecting implements policy.Mesh.
func (w *World) GatewaysSelecting(labels map[string]string) iter.Seq[*policy.Gateway] {
	// A Gateway stands under each pair of its selector, and is taken under the first one.
	startingWith := func(first pair) iter.Seq[*policy.Gateway] {
		return among(w, gatewayTable, bySelector, first.key(), func(g *policy.Gateway) bool {
			return smallest(g.Selector) == first && holds(labels, g.Selector)
		})
	}
	return func(yield func(*policy.Gateway) bool) {
		for g := range startingWith(noPair()) {
			if len(g.Selector) == 0 && !yield(g) {
				return
			}
		}
		for label, value := range labels {
			for g := range startingWith(pair{label, value}) {
				if len(g.Selector) > 0 && !yield(g) {
					return
				}
			}
		}
	}
}

// GatewaysWithin implements policy.Mesh.
func (w *World) GatewaysWithin(selector map[string]string) iter.Seq[*policy.Gateway] {
	within := func(g *policy.Gateway) bool { return holds(g.Selector, selector) }
	if len(selector) == 0 {
		return among(w, gatewayTable, byID+prefixed, policy.KindGateway, within)
	}
	return among(w, gatewayTable, bySelector, smallest(selector).key(), within)
}

// ServicesSelecting implements policy.Mesh.
func (w *World) ServicesSelecting(namespace string, labels map[string]string) iter.Seq[*policy.Service] {
	return func(yield func(*policy.Service) bool) {
		for label, value := range labels {
			first := pair{label, value}
			found := among(w, serviceTable, bySelector, serviceKey(namespace, first), func(s *policy.Service) bool {
				return s.Namespace == namespace && len(s.Selector) > 0 && smallest(s.Selector) == first && holds(labels, s.Selector)
			})
			for s := range found {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// Services implements policy.Mesh.
func (w *World) Services() iter.Seq[*policy.Service] {
	return among(w, serviceTable, byID+prefixed, policy.KindService, func(*policy.Service) bool { return true })
}

// Secret implements policy.Mesh.
func (w *World) Secret(key policy.Key) (*policy.Secret, bool) {
	o, _ := w.Object(policy.Ref{Kind: policy.KindSecret, Key: key})
	s, ok := o.(*policy.Secret)
	return s, ok
}

// SecretsNamed implements policy.Mesh.
func (w *World) SecretsNamed(name string) iter.Seq[*policy.Secret] {
	return among(w, secretTable, byName, nameKey(name), func(s *policy.Secret) bool { return s.Name == name })
}

// SecretsKnown implements policy.Mesh.
func (w *World) SecretsKnown(namespace string) bool {
	return slices.Contains(w.secretsOf, policy.EveryNamespace) || slices.Contains(w.secretsOf, namespace)
}

// CertificatesWriting implements policy.Mesh.
func (w *World) CertificatesWriting(secret string) iter.Seq[*policy.Certificate] {
	return among(w, certificateTable, bySecret, nameKey(secret), func(c *policy.Certificate) bool {
		return c.SecretName == secret && canName(secret)
	})
}

// GatewaysAskingFor yields the Gateways whose verdict may depend on a Secret of the name, ordered by namespace and name.
func (w *World) GatewaysAskingFor(secret string) iter.Seq[*policy.Gateway] {
	return among(w, gatewayTable, byCredential, nameKey(secret), func(g *policy.Gateway) bool {
		return canName(secret) && slices.Contains(g.SecretNames(), secret)
	})
}

// Now implements policy.Mesh.
func (w *World) Now() time.Time {
	return w.now
}

// Settings implements policy.Mesh.
func (w *World) Settings() policy.Settings {
	return settingsIn(w.stored)
}

// holds says whether all pairs of the selector are among the labels.
func holds(labels, selector map[string]string) bool {
	for label, value := range selector {
		if v, ok := labels[label]; !ok || v != value {
			return false
		}
	}
	return true
}
