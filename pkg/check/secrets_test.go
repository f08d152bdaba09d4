package check_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// asking is a Gateway that asks for the Secret web-tls on line 6, with its workload in the namespace edge.
const asking = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: edge}
spec:
  selector: {istio: ingress}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: web-tls}, hosts: [a.example.com]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ingress, namespace: edge}
spec: {template: {metadata: {labels: {istio: ingress}, annotations: {inject.istio.io/templates: gateway}}}}
---
`

// document is an object of a kind "namespace/name", with more lines.
func document(apiVersion, kind, name, more string) string {
	namespace, name, _ := strings.Cut(name, "/")
	metadata := "{name: " + name + "}"
	if namespace != "" {
		metadata = "{name: " + name + ", namespace: " + namespace + "}"
	}
	return "apiVersion: " + apiVersion + "\nkind: " + kind + "\nmetadata: " + metadata + "\n" + more + "\n---\n"
}

// TestSecretsInFiles: most keep Secrets out of files, so that one is said to be missing only where it cannot be elsewhere.
func TestSecretsInFiles(t *testing.T) {
	secret := func(name, values string) string { return document("v1", "Secret", name, "stringData: "+values) }
	certificate := func(name, secret string) string {
		return document("cert-manager.io/v1", "Certificate", name, "spec: {secretName: "+secret+", dnsNames: [a.example.com]}")
	}
	const tls = "{tls.crt: a, tls.key: b}"
	missing := []string{"-:6 MW209"}
	tests := []struct {
		reason, input string
		want          []string
	}{
		{"no Secret at all", "", nil},
		{"one for TLS in the namespace of the workload", secret("edge/other-tls", tls), missing},
		{"one for TLS in another namespace", secret("shop/other-tls", tls), nil},
		{"one with a password", secret("edge/password", "{password: a}"), nil},
		{"one that is encrypted", secret("edge/other-tls", tls+"\nsops: {version: 3.8.1}"), nil},
		{"one whose values are put in later", document("v1", "Secret", "edge/other-tls", "data: {tls.crt: '${CRT}', tls.key: '${KEY}'}"), nil},
		{"others come from another kind of object", secret("edge/other-tls", tls) + document("bitnami.com/v1alpha1", "SealedSecret", "edge/web-tls", ""), nil},
		{"such a one of another namespace", secret("edge/other-tls", tls) + document("bitnami.com/v1alpha1", "SealedSecret", "shop/web-tls", ""), missing},
		{"such a one of no namespace", secret("edge/other-tls", tls) + document("external-secrets.io/v1", "ClusterExternalSecret", "/web-tls", ""), nil},
		{"a Certificate for it", certificate("edge/web", "web-tls"), nil},
		{"a Certificate for another one", certificate("edge/web", "other-tls"), nil},
		{"a Certificate for it in another namespace", certificate("shop/web", "web-tls"), missing},
		{"the Secret in another namespace, with another host", secret("shop/web-tls", tls), nil},
		{"the Secret itself, which is broken", secret("edge/web-tls", tls), missing},
		{"the Secret itself, which is encrypted", secret("edge/web-tls", tls+"\nsops: {version: 3.8.1}"), nil},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			r := run(t, defaults(), asking+tc.input, "-")
			if diff := cmp.Diff(tc.want, places(r), cmpopts.EquateEmpty()); diff != "" || len(r.Problems) > 0 {
				t.Errorf("problems %q, findings (-want +got):\n%s", texts(r.Problems), diff)
			}
		})
	}
}
