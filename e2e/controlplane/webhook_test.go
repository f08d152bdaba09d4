package controlplane_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/pki"
)

const (
	webhookNamespace = "webhooks"
	webhookService   = "guard"
	webhookPort      = 8443
)

func testWebhookRoute(t *testing.T, cp *controlplane.ControlPlane) {
	ca, err := pki.NewCA("webhook-test")
	if err != nil {
		t.Fatal(err)
	}
	one, two := serveWebhook(t, ca, "one"), serveWebhook(t, ca, "two")
	client := clientFor(t, cp.Config())
	createNamespace(t, client, webhookNamespace)
	configureWebhook(t, client, ca)
	eventually(t, "the API server calls the webhook", func(ctx context.Context) (bool, error) {
		return strings.Contains(admit(ctx, client), "not found"), nil
	})

	steps := []struct {
		reason    string
		addresses []string
		// want are parts of the answers to successive requests, in any order.
		want []string
	}{
		{"an address is used from then on", []string{one}, []string{"answer of one", "answer of one"}},
		{"another takes its place", []string{two}, []string{"answer of two", "answer of two"}},
		{"several take turns", []string{one, two}, []string{"answer of one", "answer of two"}},
		{"no address refuses connections", nil, []string{"connection refused"}},
		{"an address comes back", []string{one}, []string{"answer of one"}},
	}
	for _, step := range steps {
		if err := cp.Route(webhookNamespace, webhookService, webhookPort, step.addresses...); err != nil {
			t.Fatal(err)
		}
		var got []string
		for range step.want {
			got = append(got, admit(t.Context(), client))
		}
		for _, want := range step.want {
			if !slices.ContainsFunc(got, func(answer string) bool { return strings.Contains(answer, want) }) {
				t.Errorf("%s: answers %q, want one with %q", step.reason, got, want)
			}
		}
	}
	if err := cp.Route(webhookNamespace, webhookService, webhookPort, "localhost"); err == nil {
		t.Error("Route to an address without a port: no error")
	}
}

// serveWebhook starts a webhook that denies everything in its name, and returns its
// address. Its certificate is for the Service only.
func serveWebhook(t *testing.T, ca *pki.CA, name string) string {
	t.Helper()
	pair, err := ca.Issue(pki.Identity{
		CommonName: name,
		DNSNames:   []string{webhookService + "." + webhookNamespace + ".svc"},
	})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(request.Body).Decode(&review); err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{
			UID: review.Request.UID, Result: &metav1.Status{Message: "answer of " + name},
		}
		response.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(response).Encode(review)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// configureWebhook makes the API server ask the Service about ConfigMaps in the
// namespace of the test.
func configureWebhook(t *testing.T, client *kubernetes.Clientset, ca *pki.CA) {
	t.Helper()
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "route-test"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "route.test.meshwarden.io",
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				Service: &admissionregistrationv1.ServiceReference{
					Namespace: webhookNamespace, Name: webhookService, Port: ptr.To[int32](webhookPort),
				},
				CABundle: ca.Pair().Certificate,
			},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule: admissionregistrationv1.Rule{
					APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"},
				},
			}},
			NamespaceSelector: &metav1.LabelSelector{
				MatchLabels: map[string]string{corev1.LabelMetadataName: webhookNamespace},
			},
			SideEffects:             ptr.To(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
		}},
	}
	webhooks := client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	if _, err := webhooks.Create(t.Context(), configuration, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := webhooks.Delete(context.Background(), configuration.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// admit tries to create a ConfigMap and returns why it was not admitted.
func admit(ctx context.Context, client *kubernetes.Clientset) string {
	options := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	_, err := client.CoreV1().ConfigMaps(webhookNamespace).Create(ctx, configMap("asked-about"), options)
	if err == nil {
		return "admitted"
	}
	return err.Error()
}
