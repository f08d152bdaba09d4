package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
	"github.com/meshwarden/meshwarden/e2e/platform"
)

// application is the namespace of the story, with an application behind the reference document's VirtualService.
const application = "shop"

const httpbin = `
apiVersion: v1
kind: Service
metadata:
  name: httpbin
  namespace: shop
spec:
  selector:
    app: httpbin
  ports:
  - name: http
    port: 8000
    targetPort: 8080
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: httpbin
  namespace: shop
spec:
  replicas: 2
  selector:
    matchLabels:
      app: httpbin
  template:
    metadata:
      labels:
        app: httpbin
    spec:
      containers:
      - name: httpbin
        image: docker.io/mccutchen/go-httpbin:2.18.3
        ports:
        - containerPort: 8080
`

// referenceObjects are the Gateway and the VirtualService of the platform's documentation, as written there.
const referenceObjects = `
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata:
  name: httpbin-gateway
  namespace: shop
spec:
  selector:
    istio: ingressgateway # use Istio default gateway implementation
  servers:
  - port:
      number: 80
      name: http
      protocol: HTTP
    hosts:
    - "httpbin.example.com"
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata:
  name: httpbin
  namespace: shop
spec:
  hosts:
  - "httpbin.example.com"
  gateways:
  - httpbin-gateway
  http:
  - match:
    - uri:
        prefix: /status
    - uri:
        prefix: /delay
    route:
    - destination:
        port:
          number: 8000
        host: httpbin
`

// unserved has a host that no server of its gateway carries, and is otherwise without fault.
const unserved = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: unserved
  namespace: shop
spec:
  hosts:
  - unserved.example.com
  gateways:
  - httpbin-gateway
  http:
  - route:
    - destination:
        host: httpbin
        port:
          number: 8000
`

// senseless is in line with the schema of its CRD.
const senseless = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: senseless
  namespace: default
spec:
  host: httpbin.shop.svc.cluster.local
  trafficPolicy:
    tls:
      mode: MUTUAL
`

// story is a platform with both halves of it: Meshwarden and Istio.
type story struct {
	*environment
	platform *platform.Platform
}

func startStory(t *testing.T) *story {
	t.Helper()
	s := &story{environment: &environment{log: &logBuffer{}}}
	o := platform.Options{Dir: t.TempDir(), Log: s.log}
	for _, p := range []struct {
		program binary.Binary
		path    *string
	}{
		{binary.ControlPlane, &o.ControlPlane}, {binary.WebhookRace, &o.Webhook}, {binary.Installer, &o.Installer}, {binary.PilotDiscovery, &o.Istiod},
	} {
		var err error
		*p.path, err = binary.Build(t.Context(), p.program, nil)
		noError(t, "build "+string(p.program), err)
	}
	var err error
	s.platform, err = platform.Start(t.Context(), o)
	noError(t, "start the platform", err)
	t.Cleanup(func() { noError(t, "stop the platform", s.platform.Stop(background(t))) })
	t.Cleanup(func() {
		lines := slices.DeleteFunc(s.log.find("forbidden: User"), func(line string) bool {
			return strings.Contains(line, "Failed to release lock") // the last word of an istiod that was removed, with its rights
		})
		if len(lines) > 0 {
			t.Errorf("the API server refused a pod what its ServiceAccount should be granted: %s", lines[0])
		}
		if t.Failed() {
			t.Logf("the pods' log, its end:\n%s", s.log.tail(400))
		}
	})
	s.cp = s.platform.ControlPlane
	s.client, err = client.New(s.cp.Config(), client.Options{})
	noError(t, "make a client", err)
	return s
}

func (s *story) installMeshwarden(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	s.Installation, err = s.platform.Install(ctx, meshwarden.Options{Args: append(args, "--drain-delay=2s")})
	noError(t, "install Meshwarden", err)
}

func (s *story) bootstrap(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	noError(t, "bootstrap Istio", s.platform.Bootstrap(ctx))
}

// The whole story, with the real istiod: from the platform's document to a host that is served, and one that is not.
func TestStory(t *testing.T) {
	t.Parallel()
	s := startStory(t)
	// No name but Kubernetes' and its own is an exception: what the bootstrap creates is left alone by its labels.
	s.installMeshwarden(t, "--exclude-namespaces=nothing")
	s.bootstrap(t)
	// It has come to know of Gateways and VirtualServices only now.
	s.waitInForce(t)
	for _, part := range []struct {
		reason string
		test   func(*testing.T)
	}{
		{"istiod fails closed by its own probe, with Meshwarden in place", s.testFailsClosed},
		{"a namespace is onboarded, and its pods are injected by istiod", s.testInjection},
		{"the documentation's objects are accepted, and istiod serves the host", s.testServed},
		{"what Meshwarden denies, istiod lets in and does not serve", s.testNotServed},
		{"the platform's own namespaces are not onboarded", func(t *testing.T) { s.testLeftAlone(t, platform.IstioNamespace, platform.OperatorNamespace) }},
	} {
		if !t.Run(part.reason, part.test) {
			return // each needs those before it
		}
	}
}

// The same with Istio first, by the commands of docs/bootstrap.md, and in namespaces of other names: Meshwarden takes all into its care that
// were there before it, but for those that have opted out.
func TestStoryWithIstioFirst(t *testing.T) {
	t.Parallel()
	s := startStory(t)
	for _, part := range []struct {
		reason string
		test   func(*testing.T)
	}{
		{"a document that is wrong ends the Job at once", s.testBadJob},
		{"what the page says to install, its removal takes away", s.testRemoval},
		{"a kustomization of one's own installs", func(t *testing.T) {
			s.installByPage(t, s.kustomization(t, reference(t, "operator: istio-operator", "operator: mesh-operator", "- istio-system", "- mesh", "istio: istio-system", "istio: mesh")))
			s.installMeshwarden(t, "--backfill=all")
		}},
		{"a namespace is onboarded, and its pods are injected by istiod", s.testInjection},
		{"the platform's own namespaces are not onboarded", func(t *testing.T) { s.testLeftAlone(t, "mesh", "mesh-operator") }},
	} {
		if !t.Run(part.reason, part.test) {
			return // each needs those before it
		}
	}
}

func (s *story) testFailsClosed(t *testing.T) {
	s.eventually(t, "istiod's webhooks fail closed", func(ctx context.Context) error {
		list := &admissionv1.ValidatingWebhookConfigurationList{}
		if err := s.client.List(ctx, list); err != nil {
			return err
		}
		seen := 0
		for _, c := range list.Items {
			for _, w := range c.Webhooks {
				if w.ClientConfig.Service == nil || w.ClientConfig.Service.Name != "istiod" {
					continue
				}
				if seen++; *w.FailurePolicy != admissionv1.Fail {
					return fmt.Errorf("%s of %s: failurePolicy %s", w.Name, c.Name, *w.FailurePolicy)
				}
			}
		}
		if seen == 0 {
			return errors.New("there are none")
		}
		return nil
	})
	// Only istiod knows what is wrong with it.
	wantError(t, "an object without sense", s.apply(t.Context(), senseless), "validation.istio.io", "client certificate")
}

func (s *story) testInjection(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.namespace(t, application)
	s.eventually(t, "the network policy", func(ctx context.Context) error {
		_, err := s.policy(ctx, application)
		return err
	})
	s.mustApply(t, httpbin)
	noError(t, "wait for the application", s.platform.WaitAvailable(ctx, application, "httpbin"))
	pods, err := s.platform.Pods(ctx, application, client.MatchingLabels{"app": "httpbin"})
	noError(t, "find the application's pods", err)
	if len(pods) != 2 {
		t.Errorf("%d pods, want 2", len(pods))
	}
	for _, pod := range pods {
		proxy := containers(pod)["istio-proxy"]
		if !strings.Contains(proxy.Image, "/proxyv2:") {
			t.Errorf("pod %s: the image of container istio-proxy is %q, want Istio's proxy", pod.Name, proxy.Image)
		}
		if _, ok := pod.Annotations["sidecar.istio.io/status"]; !ok {
			t.Errorf("pod %s has annotations %v, want istiod's own among them", pod.Name, pod.Annotations)
		}
	}
}

// containers returns those of the pod by name: Istio's proxy may be one that starts before the others.
func containers(pod corev1.Pod) map[string]corev1.Container {
	all := map[string]corev1.Container{}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		all[c.Name] = c
	}
	return all
}

func (s *story) testServed(t *testing.T) {
	s.mustApply(t, referenceObjects) // istiod's webhooks fail closed by now, so it was asked
	s.eventually(t, "istiod serves the host", func(ctx context.Context) error { return s.served(ctx, "httpbin.example.com", "httpbin") })
}

func (s *story) testNotServed(t *testing.T) {
	wantError(t, "with Meshwarden in place", s.apply(t.Context(), unserved), "MW102", "unserved.example.com")
	s.withoutMeshwarden(t, func() {
		s.eventually(t, "istiod alone lets it in", func(ctx context.Context) error { return s.apply(ctx, unserved) })
	})
	// What is written later and served says that istiod knows of what was written before.
	later := strings.NewReplacer("name: httpbin\n  namespace", "name: later\n  namespace", "httpbin.example.com", "later.example.com", "httpbin-gateway", "later-gateway")
	s.mustApply(t, later.Replace(referenceObjects))
	s.eventually(t, "istiod serves the host of a later one", func(ctx context.Context) error { return s.served(ctx, "later.example.com", "httpbin") })
	if err := s.served(t.Context(), "unserved.example.com", "httpbin"); err == nil {
		t.Error("istiod serves the host that Meshwarden denies")
	}
}

// withoutMeshwarden takes Meshwarden's validating webhooks away for as long as the function runs.
func (s *story) withoutMeshwarden(t *testing.T, run func()) {
	t.Helper()
	webhooks := &admissionv1.ValidatingWebhookConfiguration{}
	noError(t, "get Meshwarden's webhooks", s.client.Get(t.Context(), client.ObjectKey{Name: "meshwarden"}, webhooks))
	noError(t, "take Meshwarden's webhooks away", s.client.Delete(t.Context(), webhooks.DeepCopy()))
	run()
	webhooks.ResourceVersion, webhooks.UID = "", ""
	noError(t, "put Meshwarden's webhooks back", s.client.Create(t.Context(), webhooks))
	s.waitInForce(t)
}

// served fails unless istiod tells the ingress gateway to lead the host to the Service.
func (s *story) served(ctx context.Context, host, service string) error {
	proxy, err := s.platform.IngressGateway(ctx)
	if err != nil {
		return err
	}
	routes, err := proxy.Routes(ctx)
	if err != nil {
		return err
	}
	cluster := fmt.Sprintf("outbound|8000||%s.%s.svc.cluster.local", service, application)
	var seen []string
	for _, h := range virtualHosts(routes) {
		for _, r := range h.Routes {
			if slices.Contains(h.Domains, host) && r.GetRoute().GetCluster() == cluster {
				return nil
			}
		}
		seen = append(seen, h.Domains...)
	}
	return fmt.Errorf("no route of %s to %s; the hosts are %v", host, cluster, seen)
}

func virtualHosts(routes []*routev3.RouteConfiguration) []*routev3.VirtualHost {
	var hosts []*routev3.VirtualHost
	for _, r := range routes {
		hosts = append(hosts, r.VirtualHosts...)
	}
	return hosts
}

func (s *story) testLeftAlone(t *testing.T, names ...string) {
	for _, name := range append(names, "meshwarden-bootstrap", meshwarden.Namespace) {
		namespace := &corev1.Namespace{}
		noError(t, "get a namespace", s.client.Get(t.Context(), client.ObjectKey{Name: name}, namespace))
		if label := namespace.Labels["istio-injection"]; label == "enabled" {
			t.Errorf("namespace %s has label istio-injection=%s", name, label)
		}
		if _, err := s.policy(t.Context(), name); client.IgnoreNotFound(err) != nil || err == nil {
			t.Errorf("the network policy of namespace %s: %v, want none", name, err)
		}
	}
}
