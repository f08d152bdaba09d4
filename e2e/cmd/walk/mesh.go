package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/certmanager"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
	"github.com/meshwarden/meshwarden/e2e/platform"
)

// bootstrapPods begins the log's lines of the bootstrap Job.
const bootstrapPods = "[meshwarden-bootstrap/"

// columns are what is shown of a pod, and row is how kubectl shows them.
const (
	columns = "NAME:.metadata.name,PHASE:.status.phase,INIT:.spec.initContainers[*].name,CONTAINERS:.spec.containers[*].name"
	row     = "%-26s %-9s %-12s %s"
)

// startMesh starts a control plane with nodes and installs cert-manager, Meshwarden and Istio there.
func startMesh(ctx context.Context, s *scene, p programs, dir string, logs io.Writer) error {
	fmt.Println("Starting etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and two nodes that KWOK plays ...")
	mesh, err := platform.Start(ctx, platform.Options{
		ControlPlane: p.controlPlane, Webhook: p.webhook, Installer: p.installer, Istiod: p.istiod,
		Dir: dir, Log: &tee{next: logs, out: os.Stdout},
	})
	if err != nil {
		return err
	}
	s.stops = append(s.stops, mesh.Stop)
	s.kubeconfig = mesh.Kubeconfig()
	if s.client, err = client.New(mesh.Config(), client.Options{}); err != nil {
		return err
	}
	fmt.Println("Applying cert-manager's CRDs and starting its controllers ...")
	crds, err := certmanager.CRDs(ctx)
	if err != nil {
		return err
	}
	if err := mesh.ApplyCRDs(ctx, crds); err != nil {
		return err
	}
	manager, err := certmanager.Start(ctx, mesh.Config(), certmanager.Options{Binary: p.certManager, Dir: dir})
	if err != nil {
		return err
	}
	s.stops = append(s.stops, manager.Stop)
	fmt.Println("Applying manifests/overlays/cert-manager: Meshwarden ...")
	installation, err := mesh.Install(ctx, meshwarden.Options{Overlay: meshwarden.CertManager})
	if err != nil {
		return err
	}
	fmt.Println("Applying manifests/bootstrap: its Job installs Istio's operator, and that installs Istio ...")
	if err := mesh.Bootstrap(ctx); err != nil {
		return err
	}
	s.steps = func(ctx context.Context, w *walker) error { return w.walkMesh(ctx, mesh) }
	s.whose = "The pods' logs"
	s.look = "  kubectl get pods --all-namespaces\n  kubectl -n istio-system get istiooperators\n  kubectl -n " + application + " get gateways,virtualservices,networkpolicies\n"
	// It has come to know of Gateways and VirtualServices only now.
	return installation.WaitInForce(ctx)
}

// walkMesh takes the steps that need Istio.
func (w *walker) walkMesh(ctx context.Context, mesh *platform.Platform) error {
	if err := w.apply(ctx, "An application, whose pods get Istio's proxy from the real istiod", "application.yaml", false); err != nil {
		return err
	}
	if err := mesh.WaitAvailable(ctx, application, "httpbin"); err != nil {
		return err
	}
	pods, err := mesh.Pods(ctx, application, client.MatchingLabels{"app": "httpbin"})
	if err != nil {
		return err
	}
	w.command("kubectl -n " + application + " get pods -o custom-columns=" + columns)
	w.answer(fmt.Sprintf(row, "NAME", "PHASE", "INIT", "CONTAINERS"))
	injected := false
	for _, pod := range pods {
		first, others := names(pod.Spec.InitContainers), names(pod.Spec.Containers)
		w.answer(fmt.Sprintf(row, pod.Name, pod.Status.Phase, strings.Join(first, ","), strings.Join(others, ",")))
		injected = injected || slices.Contains(slices.Concat(first, others), "istio-proxy")
	}
	if !injected {
		return errors.New("no pod was injected")
	}
	if err := w.apply(ctx, "Its Service, and what istiod tells the ingress gateway then", "service.yaml", false); err != nil {
		return err
	}
	return w.showRoutes(ctx, mesh)
}

func names(containers []corev1.Container) []string {
	var all []string
	for _, c := range containers {
		all = append(all, c.Name)
	}
	return all
}

// showRoutes asks istiod as the ingress gateway's proxy does, until the host is served, and shows its routes.
func (w *walker) showRoutes(ctx context.Context, mesh *platform.Platform) error {
	gateway, host, err := mesh.Served(ctx, "httpbin.example.com")
	if err != nil {
		return err
	}
	fmt.Fprintf(w.out, "   istiod's answer over xDS to the proxy of pod %s:\n", gateway)
	for _, route := range host.Routes {
		w.answer(fmt.Sprintf("%s%s -> %s", host.Domains[0], prefix(route), route.GetRoute().GetCluster()))
	}
	return nil
}

// prefix returns the paths that a route is for, however istiod has them.
func prefix(route *routev3.Route) string {
	match := route.GetMatch()
	if p := match.GetPathSeparatedPrefix(); p != "" {
		return p
	}
	return match.GetPrefix()
}

// tee passes lines on, and shows those of the bootstrap Job: they say how far the installation is.
type tee struct {
	next, out io.Writer

	mu sync.Mutex
}

// Write implements io.Writer, for whole lines.
func (t *tee) Write(line []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if bytes.HasPrefix(line, []byte(bootstrapPods)) {
		if _, text, ok := bytes.Cut(line, []byte("] ")); ok {
			fmt.Fprintf(t.out, "  %s", text)
		}
	}
	return t.next.Write(line)
}
