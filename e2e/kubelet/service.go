package kubelet

import (
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// ServicePort is what a client connects to.
type ServicePort struct {
	Namespace, Service string
	Port               int32
}

// Endpoint is a pod that Services may lead to.
type Endpoint struct {
	Namespace string
	Labels    map[string]string
	Ports     []corev1.ContainerPort
	// Addresses are the host:port of the ports, by number.
	Addresses map[int32]string
	Ready     bool
}

// Lead returns where the Services lead, for each port of those whose selector matches one of the endpoints.
func Lead(services []corev1.Service, endpoints []Endpoint) map[ServicePort][]string {
	table := map[ServicePort][]string{}
	for _, s := range services {
		if len(s.Spec.Selector) == 0 || s.Spec.ClusterIP == corev1.ClusterIPNone {
			continue // nobody connects to it but by addresses
		}
		selector := labels.SelectorFromSet(s.Spec.Selector)
		for _, e := range endpoints {
			if e.Namespace != s.Namespace || !selector.Matches(labels.Set(e.Labels)) {
				continue
			}
			for _, port := range s.Spec.Ports {
				key := ServicePort{s.Namespace, s.Name, port.Port}
				number, ok := portNumber(port.TargetPort, e.Ports)
				if ok && e.Ready {
					table[key] = append(table[key], e.Addresses[number])
				} else if table[key] == nil {
					table[key] = []string{}
				}
			}
		}
	}
	for _, to := range table {
		slices.Sort(to)
	}
	return table
}

// route has the API server's webhooks follow the Services. A Service that has lost its last pod leads nowhere.
func (k *Kubelet) route(services []corev1.Service) error {
	var endpoints []Endpoint
	for _, w := range k.running() {
		endpoints = append(endpoints, w.endpoint())
	}
	table := Lead(services, endpoints)
	k.mu.Lock()
	defer k.mu.Unlock()
	for key := range k.routes {
		if table[key] == nil {
			table[key] = []string{}
		}
	}
	var errs []error
	for key, to := range table {
		if old, routed := k.routes[key]; routed && slices.Equal(old, to) {
			continue
		}
		if err := k.cp.Route(key.Namespace, key.Service, key.Port, to...); err != nil {
			errs = append(errs, err)
			continue
		}
		k.routes[key] = to
	}
	return errors.Join(errs...)
}
