package suite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ingressDeployment is a Deployment of gateways in the namespace edge.
const ingressDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: edge, name: ingress}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  template:
    metadata:
      labels: {istio: ingressgateway}
      annotations: {inject.istio.io/templates: gateway}
    spec:
      containers:
      - {name: istio-proxy, image: auto}
`

// serverOn returns the Gateway with its server on another port.
func serverOn(gateway, port string) string {
	return strings.Replace(gateway, "{number: 80, name: http, protocol: HTTP}", port, 1)
}

// tlsGateway returns a Gateway with one HTTPS server.
func tlsGateway(name string, hosts ...string) string {
	return serverOn(gateway("shop", name, hosts...), "{number: 443, name: https, protocol: HTTPS}\n    tls: {mode: SIMPLE, credentialName: shop}")
}

// What a verdict depends on besides Gateways and VirtualServices is followed in the cluster: where gateways run, which ports
// lead there, and what Istio has been told for the mesh.
func TestWorkloadsAndSettings(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	for _, name := range []string{"edge", "istio-system", "shop"} {
		e.namespace(t, name)
	}
	e.mustApply(t, ingressDeployment)
	e.mustApply(t, gateway("shop", "gw", "*.example.com"))
	e.metric(t, `meshwarden_model_objects{kind="Deployment"} 2`) // one is Meshwarden's own

	t.Run("NotExported", func(t *testing.T) {
		private := strings.Replace(virtualService("shop", "private", "private.example.com", "gw"), "spec:", `spec:
  exportTo: ["."]`, 1)
		wantError(t, "a VirtualService that stays in its namespace, while the gateway runs elsewhere", e.apply(t.Context(), private),
			"MW104", "private.example.com", "Deployment edge/ingress", "spec.hosts[0]")
		e.mustApply(t, strings.Replace(private, `["."]`, `[".", "edge"]`, 1))
	})
	t.Run("Settings", func(t *testing.T) { testSettings(t, e) })
	t.Run("Conflicts", func(t *testing.T) { testConflicts(t, e) })
	for _, line := range e.log.find("DATA RACE") {
		t.Error(line)
	}
}

// testSettings changes the mesh's default while Meshwarden runs.
func testSettings(t *testing.T, e *environment) {
	e.mustApply(t, virtualService("shop", "public", "public.example.com", "gw"))
	e.mustApply(t, `
apiVersion: v1
kind: ConfigMap
metadata: {namespace: istio-system, name: istio}
data:
  mesh: |
    defaultVirtualServiceExportTo: ["."]
`)
	// What is stored already is found by re-evaluation, which tells that the setting is in force, too.
	e.event(t, "NotExported", "VirtualService", "shop", "public", "defaultVirtualServiceExportTo")
	e.logged(t, 1, "Istio's settings", `"defaultExportTo":["."]`, `"defaultExportToFrom":"ConfigMap istio-system/istio"`)
	wantError(t, "a VirtualService that says nothing about its visibility", e.apply(t.Context(), virtualService("shop", "hidden", "hidden.example.com", "gw")),
		"MW104", "hidden.example.com", "defaultVirtualServiceExportTo")
	noError(t, "an edit of one that was stored before", e.client.Patch(t.Context(), object("VirtualService", "shop", "public"),
		client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"http":[{"route":[{"destination":{"host":"other"}}]}]}}`))))
}

// testConflicts writes Gateways that take each other's servers. Those of one second are as old as their names say.
func testConflicts(t *testing.T, e *environment) {
	// The model follows what is stored; a write that comes before it does is found by re-evaluation.
	e.mustApply(t, tlsGateway("a-first", "first.example.com"))
	e.metric(t, "meshwarden_model_objects{kind=\"Gateway\"} 2\n")
	wantError(t, "a second Gateway with the TLS host", e.apply(t.Context(), tlsGateway("b-second", "first.example.com")),
		"MW201", "first.example.com", "Istio drops spec.servers[0]", "Gateway shop/b-second", "Gateway shop/a-first", "Deployment edge/ingress")
	e.mustApply(t, tlsGateway("b-second", "second.example.com"))
	e.metric(t, "meshwarden_model_objects{kind=\"Gateway\"} 3\n")
	wantError(t, "the older Gateway takes the host of the younger one", e.apply(t.Context(), tlsGateway("a-first", "first.example.com", "second.example.com")),
		"MW201", "second.example.com", "makes Istio drop", "Gateway shop/b-second")

	e.mustApply(t, serverOn(gateway("shop", "z-tcp", "*"), "{number: 9000, name: tcp, protocol: TCP}"))
	e.eventually(t, "nothing is wrong with it yet", func(ctx context.Context) error {
		if lines := e.log.find("stored object does not comply", "shop/z-tcp"); len(lines) > 0 {
			return errors.New(lines[0])
		}
		return nil
	})
	e.mustApply(t, `
apiVersion: v1
kind: Service
metadata: {namespace: edge, name: ingress}
spec:
  selector: {istio: ingressgateway}
  ports:
  - {name: http, port: 80, targetPort: 9000}
`)
	e.event(t, "PortConflict", "Gateway", "shop", "z-tcp", "MW202", "9000")
	e.metric(t, fmt.Sprintf(`meshwarden_stored_findings{action="deny",rule=%q} 1`, "MW202"))
}
