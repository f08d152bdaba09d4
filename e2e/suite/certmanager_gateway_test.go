package suite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/certmanager"
)

// gatewayIssuer signs for itself. It is there for whole namespaces, as platforms have it.
const gatewayIssuer = `
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: gateways}
spec: {selfSigned: {}}
`

// gatewayCertificate returns a Certificate that writes the Secret of tlsGateway.
func gatewayCertificate(namespace, issuer string, hosts ...string) string {
	return fmt.Sprintf(`
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {namespace: %s, name: web}
spec:
  secretName: shop
  dnsNames: [%s]
  privateKey: {algorithm: ECDSA, rotationPolicy: Always}
  issuerRef: %s
`, namespace, quoted(hosts), issuer)
}

// Issuers of Certificates: cert-manager's own, and one of another group, which the test plays.
const (
	ownIssuer     = "{group: cert-manager.io, kind: ClusterIssuer, name: gateways}"
	foreignIssuer = "{group: example.com, kind: Authority, name: authority}"
)

// cert-manager issues for a Gateway of the namespace shop, whose workload runs in the namespace edge, and Meshwarden tells
// what is wrong with that by MW209. It reads no Secret for it.
func testGatewayCertificates(t *testing.T, e *environment) {
	e.namespace(t, "edge")
	e.namespace(t, "shop")
	e.mustApply(t, gatewayIssuer)
	e.mustApply(t, ingressDeployment)
	e.mustApply(t, tlsGateway("web", "a.example.com", "b.example.com"))
	edge := client.ObjectKey{Namespace: "edge", Name: "web"}
	issued := func(t *testing.T) {
		_, err := certmanager.WaitIssued(t.Context(), e.client, edge)
		noError(t, "wait for the certificate", err)
	}
	for _, step := range []struct {
		reason string
		do     func(*testing.T)
		// want are parts of the warning; none means that nothing is to be said.
		want []string
	}{
		{reason: "there is no Certificate, but Secrets are not read, and there may be one", do: func(*testing.T) {}},
		{
			reason: "cert-manager writes the Secret next to the Gateway, and Istio looks for it next to the workload",
			do: func(t *testing.T) {
				e.mustApply(t, gatewayCertificate("shop", ownIssuer, "a.example.com", "b.example.com"))
			},
			want: []string{"Certificate shop/web writes", "namespace shop", "namespace edge", "Deployment edge/ingress"},
		},
		{
			reason: "a Certificate in the right namespace asks for too few names, before it is issued",
			do:     func(t *testing.T) { e.mustApply(t, gatewayCertificate("edge", foreignIssuer, "a.example.com")) },
			want:   []string{"Certificate edge/web", "does not cover b.example.com"},
		},
		{
			reason: "its names are corrected, and that it is being issued needs no warning",
			do: func(t *testing.T) {
				e.mustApply(t, gatewayCertificate("edge", foreignIssuer, "a.example.com", "b.example.com"))
			},
		},
		{
			reason: "the issuer refuses, and that is told of the stored Gateway as well",
			do: func(t *testing.T) {
				e.refuse(t, edge)
				e.event(t, "Credential", "Gateway", "shop", "web")
				e.eventually(t, "the finding is in the log", func(context.Context) error {
					if len(e.log.find("stored object does not comply", "MW209", "Certificate edge/web is not issued")) == 0 {
						return errors.New("it is not")
					}
					return nil
				})
			},
			want: []string{"Certificate edge/web is not issued", "the authority is closed"},
		},
		{
			reason: "another issuer issues it",
			do: func(t *testing.T) {
				e.mustApply(t, gatewayCertificate("edge", ownIssuer, "a.example.com", "b.example.com"))
				issued(t)
			},
		},
		{
			reason: "it is issued for less than the Gateway carries",
			do: func(t *testing.T) {
				e.mustApply(t, gatewayCertificate("edge", ownIssuer, "*.b.example.com"))
				issued(t)
			},
			want: []string{"Certificate edge/web is for *.b.example.com", "does not cover a.example.com, b.example.com"},
		},
		{
			reason: "a wildcard covers both",
			do: func(t *testing.T) {
				e.mustApply(t, gatewayCertificate("edge", ownIssuer, "*.example.com"))
				issued(t)
			},
		},
	} {
		t.Run(step.reason, func(t *testing.T) {
			step.do(t)
			e.wantGatewayWarning(t, step.want)
		})
	}
}

// wantGatewayWarning waits until a change of the Gateway warns of MW209 with all parts, or of nothing if there are none.
func (e *environment) wantGatewayWarning(t *testing.T, want []string) {
	t.Helper()
	e.eventually(t, fmt.Sprintf("the warning holds %q", want), func(context.Context) error {
		heard := e.warnings(t, func(ctx context.Context, c client.Client) error {
			// An update that changes nothing would not be judged.
			changed := strings.Replace(tlsGateway("web", "a.example.com", "b.example.com"), "name: https,", "name: https-web,", 1)
			return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(documents(changed)[0]), client.FieldOwner("test"), client.DryRunAll)
		})
		if len(want) == 0 && heard != "" {
			return fmt.Errorf("it warns %q", heard)
		}
		for _, part := range want {
			if !strings.Contains(heard, "MW209") || !strings.Contains(heard, part) {
				return fmt.Errorf("it warns %q", heard)
			}
		}
		return nil
	})
}

// refuse has the requests of a Certificate fail, as an issuer of another group than cert-manager's would, until cert-manager
// has given up.
func (e *environment) refuse(t *testing.T, name client.ObjectKey) {
	t.Helper()
	e.eventually(t, "the issuance fails", func(ctx context.Context) error {
		certificate, requests := &unstructured.Unstructured{}, &unstructured.UnstructuredList{}
		for kind, o := range map[string]interface{ SetGroupVersionKind(schema.GroupVersionKind) }{"Certificate": certificate, "CertificateRequestList": requests} {
			o.SetGroupVersionKind(schema.GroupVersionKind{Group: "cert-manager.io", Version: "v1", Kind: kind})
		}
		if err := first(
			func() error { return e.client.Get(ctx, name, certificate) },
			func() error { return e.client.List(ctx, requests, client.InNamespace(name.Namespace)) },
		); err != nil {
			return err
		}
		if _, failed, err := unstructured.NestedString(certificate.Object, "status", "lastFailureTime"); failed || err != nil {
			return err
		}
		for _, request := range requests.Items {
			conditions, _, err := unstructured.NestedSlice(request.Object, "status", "conditions")
			if err != nil {
				return err
			}
			now := time.Now().UTC().Format(time.RFC3339)
			refused := map[string]any{
				"type": "Ready", "status": "False", "reason": "Failed", "message": "the authority is closed", "lastTransitionTime": now,
			}
			request.Object["status"] = map[string]any{"conditions": append(conditions, refused), "failureTime": now}
			if err := e.client.Status().Update(ctx, &request); err != nil {
				return err
			}
		}
		return errors.New("cert-manager has not noticed yet")
	})
}
