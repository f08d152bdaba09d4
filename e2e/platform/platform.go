// Package platform is a whole Istio platform on this machine: a control plane whose nodes KWOK plays, and whose pods of
// Meshwarden, of the installer and of istiod are the real programs. What is in it is installed as on any cluster, from the
// manifests.
package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/istiod"
	"github.com/meshwarden/meshwarden/e2e/kubelet"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

const (
	// installer is the repository of the image of the bootstrap Job and of the operator.
	installer = "meshwarden/installer"
	// bootstrapNamespace is that of the Job.
	bootstrapNamespace = "meshwarden-bootstrap"
	// IstioNamespace is Istio's in the document of manifests/bootstrap.
	IstioNamespace = "istio-system"
	// OperatorNamespace is there that of Istio's operator.
	OperatorNamespace = "istio-operator"
	// nodes is how many there are.
	nodes = 2
	// waitPeriod is how often it is looked whether something has come about.
	waitPeriod = 100 * time.Millisecond
)

// Options say what a platform consists of.
type Options struct {
	// ControlPlane, Webhook, Installer and Istiod are the paths of the programs. Required.
	ControlPlane, Webhook, Installer, Istiod string
	// Dir takes what the processes have on disk. Required.
	Dir string
	// Log gets the output of the pods, in whole lines that begin with the pod; nil drops it.
	Log io.Writer
	// Progress is told in a line what happened; nil means that nobody listens.
	Progress func(string)
}

// Platform is a started control plane, into which the rest can be installed in any order.
type Platform struct {
	*controlplane.ControlPlane
	Kubelet *kubelet.Kubelet

	options Options
	client  client.Client
}

// Start starts the control plane with its nodes. The caller ends it with Stop.
func Start(ctx context.Context, o Options) (*Platform, error) {
	webhook, err := meshwarden.Program(o.Webhook)
	if err != nil {
		return nil, err
	}
	programs := map[string]kubelet.Program{
		meshwarden.Image: webhook,
		istiod.Image:     istiod.Program(o.Istiod),
		installer: {
			Path: o.Installer, Listen: map[int32]string{8080: "--metrics-address", 8081: "--health-address"},
			Options: func(at kubelet.Place) []string {
				options := []string{"--kubeconfig=" + at.Kubeconfig}
				if at.Namespace != bootstrapNamespace { // the operator, which otherwise reads its namespace from a file of the container's
					options = append(options, "--namespace="+at.Namespace)
				}
				return options
			},
		},
	}
	p := &Platform{options: o}
	p.ControlPlane, err = controlplane.Start(ctx, controlplane.Options{
		Binary: o.ControlPlane, Dir: filepath.Join(o.Dir, "controlplane"), Progress: o.Progress,
		Nodes: nodes, KubeletImages: []string{meshwarden.Image, istiod.Image, installer},
	})
	if err != nil {
		return nil, err
	}
	p.client, err = client.New(p.Config(), client.Options{})
	if err == nil {
		p.Kubelet, err = kubelet.Start(p.ControlPlane, kubelet.Options{Programs: programs, Dir: filepath.Join(o.Dir, "pods"), Log: o.Log})
	}
	if err != nil {
		return nil, errors.Join(err, p.ControlPlane.Stop(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// Stop ends all processes, and returns what went wrong with them.
func (p *Platform) Stop(ctx context.Context) error {
	return errors.Join(p.Kubelet.Stop(ctx), p.ControlPlane.Stop(ctx))
}

// Install applies Meshwarden's manifests and waits until its Deployment is available and its webhooks are in force. Of the
// options, those that say what to install count.
func (p *Platform) Install(ctx context.Context, o meshwarden.Options) (*meshwarden.Installation, error) {
	o.Dir = p.options.Dir
	i, err := meshwarden.Install(ctx, p.ControlPlane, o)
	if err != nil {
		return nil, err
	}
	if err := p.WaitAvailable(ctx, meshwarden.Namespace, "meshwarden"); err != nil {
		return nil, err
	}
	return i, i.WaitInForce(ctx)
}

// Bootstrap applies manifests/bootstrap and waits until its Job is complete, which it is when Istio is healthy. It fails when
// the Job does, and says why.
func (p *Platform) Bootstrap(ctx context.Context) error {
	folder, err := meshwarden.Folder(ctx, "manifests", "bootstrap")
	if err != nil {
		return err
	}
	objects, err := meshwarden.Build(folder)
	if err != nil {
		return err
	}
	if err := meshwarden.Apply(ctx, p.client, objects); err != nil {
		return err
	}
	seen := &batchv1.Job{}
	err = p.wait(ctx, func(ctx context.Context) (bool, error) {
		if err := p.client.Get(ctx, client.ObjectKey{Namespace: bootstrapNamespace, Name: "bootstrap"}, seen); err != nil {
			return false, err
		}
		if seen.Status.Failed > 0 {
			return false, errors.New("its pod failed")
		}
		return seen.Status.CompletionTime != nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the bootstrap Job: %w (%+v)", err, seen.Status)
	}
	return nil
}

// wait waits until the condition holds, and fails at once when a pod cannot be played.
func (p *Platform) wait(ctx context.Context, condition wait.ConditionWithContextFunc) error {
	return wait.PollUntilContextCancel(ctx, waitPeriod, true, func(ctx context.Context) (bool, error) {
		done, err := condition(ctx)
		return done, errors.Join(err, p.Kubelet.Err())
	})
}

// WaitAvailable waits until all replicas of a Deployment are available, of what it says now.
func (p *Platform) WaitAvailable(ctx context.Context, namespace, name string) error {
	seen := &appsv1.Deployment{}
	err := p.wait(ctx, func(ctx context.Context) (bool, error) {
		if err := p.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, seen); err != nil {
			return false, err
		}
		want := ptr.Deref(seen.Spec.Replicas, 1)
		return seen.Status.ObservedGeneration == seen.Generation && seen.Status.AvailableReplicas == want && seen.Status.UpdatedReplicas == want, nil
	})
	if err != nil {
		return fmt.Errorf("wait for Deployment %s/%s: %w (%+v)", namespace, name, err, seen.Status)
	}
	return nil
}

// Pods waits until a pod with the label runs and is ready, in the namespace, and returns all of them.
func (p *Platform) Pods(ctx context.Context, namespace string, labels client.MatchingLabels) ([]corev1.Pod, error) {
	list := &corev1.PodList{}
	err := p.wait(ctx, func(ctx context.Context) (bool, error) {
		if err := p.client.List(ctx, list, client.InNamespace(namespace), labels); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		for _, pod := range list.Items {
			if pod.Status.Phase != corev1.PodRunning {
				return false, nil
			}
		}
		return len(list.Items) > 0, nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for pods %v in %s: %w", labels, namespace, err)
	}
	return list.Items, nil
}

// IngressGateway returns the proxy of Istio's ingress gateway, which asks istiod.
func (p *Platform) IngressGateway(ctx context.Context) (istiod.Proxy, error) {
	pods, err := p.Pods(ctx, IstioNamespace, client.MatchingLabels{"istio": "ingressgateway"})
	if err != nil {
		return istiod.Proxy{}, err
	}
	service := client.ObjectKey{Namespace: IstioNamespace, Name: "istiod"}
	addresses := p.Kubelet.Addresses(service.Namespace, service.Name, istiod.Port)
	if len(addresses) == 0 {
		return istiod.Proxy{}, errors.New("no istiod is ready")
	}
	return istiod.Proxy{Client: p.client, Address: addresses[0], Istiod: service, Pod: &pods[0]}, nil
}

// Served waits until istiod serves a host to the ingress gateway, and returns the gateway's pod and what it is told.
func (p *Platform) Served(ctx context.Context, host string) (pod string, served *routev3.VirtualHost, err error) {
	last := errors.New("not asked yet")
	err = p.wait(ctx, func(ctx context.Context) (bool, error) {
		pod, served, last = p.ask(ctx, host)
		return last == nil, nil
	})
	if err != nil {
		return "", nil, fmt.Errorf("wait for istiod to serve %s: %w (%w)", host, err, last)
	}
	return pod, served, nil
}

// ask asks istiod for a host once.
func (p *Platform) ask(ctx context.Context, host string) (string, *routev3.VirtualHost, error) {
	gateway, err := p.IngressGateway(ctx)
	if err != nil {
		return "", nil, err
	}
	routes, err := gateway.Routes(ctx)
	if err != nil {
		return "", nil, err
	}
	served := virtualHost(routes, host)
	if served == nil {
		return "", nil, fmt.Errorf("host %s is not among the routes", host)
	}
	return gateway.Pod.Name, served, nil
}

func virtualHost(routes []*routev3.RouteConfiguration, host string) *routev3.VirtualHost {
	for _, r := range routes {
		for _, h := range r.VirtualHosts {
			if slices.Contains(h.Domains, host) {
				return h
			}
		}
	}
	return nil
}
