package certmanager_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/certmanager"
	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

const (
	// patience is how long a test waits for what must come.
	patience    = 3 * time.Minute
	interval    = 50 * time.Millisecond
	stopTimeout = time.Minute
)

// chain is an Issuer that signs for itself, a CA made by it, an Issuer with this CA, and a certificate of that one.
const chain = `
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {namespace: default, name: self-signed}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {namespace: default, name: ca}
spec:
  isCA: true
  commonName: test-ca
  secretName: ca
  privateKey: {algorithm: ECDSA, rotationPolicy: Never}
  issuerRef: {name: self-signed, kind: Issuer, group: cert-manager.io}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {namespace: default, name: ca}
spec: {ca: {secretName: ca}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {namespace: default, name: leaf}
spec:
  dnsNames: [guard.default.svc]
  secretName: leaf
  privateKey: {algorithm: ECDSA}
  issuerRef: {name: ca, kind: Issuer, group: cert-manager.io}
`

const webhook = `
apiVersion: admissionregistration.k8s.io/v1
kind: %s
metadata: {name: guard, annotations: {cert-manager.io/inject-ca-from: default/leaf}}
webhooks:
  - name: guard.example.com
    admissionReviewVersions: [v1]
    sideEffects: None
    clientConfig: {service: {namespace: default, name: guard}}
    rules: [{apiGroups: [example.com], apiVersions: [v1], resources: [things], operations: [CREATE]}]
`

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // the client's own
	os.Exit(m.Run())
}

func TestIssueAndInject(t *testing.T) {
	c := start(t)
	apply(t, c, chain)
	apply(t, c, fmt.Sprintf(webhook, "ValidatingWebhookConfiguration"))
	apply(t, c, fmt.Sprintf(webhook, "MutatingWebhookConfiguration"))

	secret, err := certmanager.WaitIssued(t.Context(), c, client.ObjectKey{Namespace: "default", Name: "leaf"})
	noError(t, "wait for the leaf", err)
	ca := secret.Data["ca.crt"]
	noError(t, "verify the leaf", verify(ca, secret, "guard.default.svc"))

	eventually(t, "the CA is injected", func(ctx context.Context) error {
		var validating admissionregistrationv1.ValidatingWebhookConfiguration
		if err := c.Get(ctx, client.ObjectKey{Name: "guard"}, &validating); err != nil {
			return err
		}
		var mutating admissionregistrationv1.MutatingWebhookConfiguration
		if err := c.Get(ctx, client.ObjectKey{Name: "guard"}, &mutating); err != nil {
			return err
		}
		for kind, got := range map[string][]byte{
			"validating": validating.Webhooks[0].ClientConfig.CABundle,
			"mutating":   mutating.Webhooks[0].ClientConfig.CABundle,
		} {
			if !bytes.Equal(got, ca) {
				return fmt.Errorf("caBundle of the %s webhook: %q, want %q", kind, got, ca)
			}
		}
		return nil
	})
}

func TestStartFails(t *testing.T) {
	tests := []struct {
		reason, program, wantErr string
	}{
		{"the program is not given", "", "the path of the certmanager program or the folder is missing"},
		{"the program does not exist", "/nonexistent/certmanager", "start cert-manager: "},
		{"the program ends at once", "/bin/false", "exit status 1"},
		{"the program ends well, but too early", "/bin/true", "it ended before its controllers were at work"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			options := certmanager.Options{Binary: test.program, Dir: t.TempDir()}
			_, err := certmanager.Start(t.Context(), &rest.Config{Host: "https://127.0.0.1:1"}, options)
			if err == nil || !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("Start: %v, want an error with %q", err, test.wantErr)
			}
		})
	}
}

// start starts a control plane with cert-manager, until the end of the test.
func start(t *testing.T) client.Client {
	t.Helper()
	cp := startControlPlane(t)
	crds, err := certmanager.CRDs(t.Context())
	noError(t, "find the CRDs", err)
	noError(t, "apply the CRDs", cp.ApplyCRDs(t.Context(), crds))
	program, err := binary.Build(t.Context(), binary.CertManager, nil)
	noError(t, "build cert-manager", err)
	manager, err := certmanager.Start(t.Context(), cp.Config(), certmanager.Options{Binary: program, Dir: t.TempDir(), Log: t.Output()})
	noError(t, "start cert-manager", err)
	t.Cleanup(func() { noError(t, "stop cert-manager", manager.Stop(background(t))) })
	c, err := client.New(cp.Config(), client.Options{})
	noError(t, "make a client", err)
	return c
}

func startControlPlane(t *testing.T) *controlplane.ControlPlane {
	t.Helper()
	program, err := binary.Build(t.Context(), binary.ControlPlane, nil)
	noError(t, "build the control plane", err)
	cp, err := controlplane.Start(t.Context(), controlplane.Options{
		Binary: program, Roles: []controlplane.Role{controlplane.Etcd, controlplane.APIServer},
	})
	noError(t, "start the control plane", err)
	t.Cleanup(func() { noError(t, "stop the control plane", cp.Stop(background(t))) })
	return cp
}

func apply(t *testing.T, c client.Client, text string) {
	t.Helper()
	for document := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		noError(t, "read a document", yaml.Unmarshal([]byte(document), &o.Object))
		noError(t, "apply "+o.GetKind(), c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test")))
	}
}

func eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), interval, patience, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v: %v", what, err, last)
	}
}

func noError(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// background is a context for cleaning up, when the test's own has ended.
func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), stopTimeout)
	t.Cleanup(cancel)
	return ctx
}
