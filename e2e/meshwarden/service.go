package meshwarden

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// servicePort is a port of a Service that leads to the replicas.
type servicePort struct {
	service  string
	port     int32
	target   string
	selector labels.Selector
}

// readServices finds out which Services of the namespace have an address, and has them lead nowhere yet.
func (i *Installation) readServices(ctx context.Context) error {
	list := &corev1.ServiceList{}
	if err := i.client.List(ctx, list, client.InNamespace(i.namespace)); err != nil {
		return fmt.Errorf("list the Services: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range list.Items {
		if s.Spec.ClusterIP == corev1.ClusterIPNone {
			continue // nobody connects to it but by the addresses of its Pods
		}
		for _, port := range s.Spec.Ports {
			if port.TargetPort.StrVal == "" {
				return fmt.Errorf("service %s leads to a port by its number %d, and ports have other numbers here", s.Name, port.TargetPort.IntVal)
			}
			to := servicePort{service: s.Name, port: port.Port, target: port.TargetPort.StrVal, selector: labels.SelectorFromSet(s.Spec.Selector)}
			i.services = append(i.services, to)
			if err := i.cp.Route(i.namespace, to.service, to.port); err != nil {
				return err
			}
		}
	}
	return nil
}

// route adds the replica to those that the Services lead to, or takes it away.
func (i *Installation) route(r *Replica, ready bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if slices.Contains(i.ready, r) == ready {
		return
	}
	if ready {
		i.ready = append(i.ready, r)
	} else {
		i.ready = slices.DeleteFunc(i.ready, func(other *Replica) bool { return other == r })
	}
	for _, s := range i.services {
		var addresses []string
		for _, replica := range i.ready {
			if address, ok := replica.addresses[s.target]; ok && s.selector.Matches(replica.labels) {
				addresses = append(addresses, address)
			}
		}
		// A route that cannot be written shows in the webhooks' answers.
		_ = i.cp.Route(i.namespace, s.service, s.port, addresses...)
	}
}

// Routed says whether the Services lead to the replica now.
func (r *Replica) Routed() bool {
	r.installation.mu.Lock()
	defer r.installation.mu.Unlock()
	return slices.Contains(r.installation.ready, r)
}
