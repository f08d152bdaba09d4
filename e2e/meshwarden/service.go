package meshwarden

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/kubelet"
)

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
		i.services = append(i.services, s)
		for _, port := range s.Spec.Ports {
			if err := i.cp.Route(i.namespace, s.Name, port.Port); err != nil {
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
	// One that is not ready has the Services lead nowhere where it was the last.
	endpoints := []kubelet.Endpoint{r.endpoint(false)}
	for _, replica := range i.ready {
		endpoints = append(endpoints, replica.endpoint(true))
	}
	for to, addresses := range kubelet.Lead(i.services, endpoints) {
		// A route that cannot be written shows in the webhooks' answers.
		_ = i.cp.Route(to.Namespace, to.Service, to.Port, addresses...)
	}
}

func (r *Replica) endpoint(ready bool) kubelet.Endpoint {
	return kubelet.Endpoint{
		Namespace: r.installation.namespace, Labels: r.labels, Ports: r.sandbox.Container.Ports, Addresses: r.sandbox.Addresses, Ready: ready,
	}
}

// Routed says whether the Services lead to the replica now.
func (r *Replica) Routed() bool {
	r.installation.mu.Lock()
	defer r.installation.mu.Unlock()
	return slices.Contains(r.installation.ready, r)
}
