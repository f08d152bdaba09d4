package certificate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	expiryMetric    = "meshwarden_certificate_expiry_timestamp_seconds"
	injectionMetric = "meshwarden_ca_bundle_injections_total"
)

// installed returns a world in which one replica has made everything.
func installed(t *testing.T) (*world, *member) {
	t.Helper()
	w := newWorld(t, registered()...)
	m := w.replica()
	m.settle()
	w.sent()
	return w, m
}

// serves returns the fingerprint of what the replica serves, empty for nothing.
func (m *member) serves() string {
	c, err := m.holder.GetCertificate(nil)
	if err != nil {
		return ""
	}
	return fingerprint(c.Leaf)
}

func TestInstall(t *testing.T) {
	w := newWorld(t, registered()...)
	m := w.replica()
	if err := m.holder.Ready(nil); err == nil || !strings.Contains(err.Error(), "holds none yet") {
		t.Errorf("ready without a certificate: %v", err)
	}
	if _, err := m.visit(); err != nil {
		t.Fatal(err)
	}
	secret := w.secret()
	if secret.Type != corev1.SecretTypeTLS || secret.Labels["app.kubernetes.io/name"] != "meshwarden" || len(secret.Data) != 4 {
		t.Errorf("the Secret is a %s with %v and %d keys", secret.Type, secret.Labels, len(secret.Data))
	}
	if m.serves() != "" {
		t.Error("serves what it has not read from the Secret")
	}
	if _, err := m.visit(); err != nil {
		t.Fatal(err)
	}
	if err := m.holder.Ready(nil); err == nil || !strings.Contains(err.Error(), "do not trust") {
		t.Errorf("ready before the webhooks trust it: %v", err)
	}
	m.settle()
	if err := m.holder.Ready(nil); err != nil {
		t.Errorf("not ready: %v", err)
	}
	stored := w.stored()
	if m.serves() != fingerprint(stored.Serving.Leaf) {
		t.Error("serves something else than what is stored")
	}
	want := string(stored.Bundle())
	if diff := cmp.Diff([]string{want, want, want}, w.bundles()); diff != "" {
		t.Errorf("caBundles (-want +got):\n%s", diff)
	}
	got := []float64{m.metric(expiryMetric, "serving"), m.metric(expiryMetric, "ca"), m.metric(injectionMetric, "MutatingWebhookConfiguration")}
	if diff := cmp.Diff([]float64{float64(start.Add(90 * day).Unix()), float64(start.Add(1825 * day).Unix()), 1}, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if sent := w.sent(); len(sent) != 2 || !strings.HasPrefix(sent[0], "Normal CertificateRenewed CA ") || !strings.HasPrefix(sent[1], "Normal CertificateRenewed serving") {
		t.Errorf("Events %q", sent)
	}
	result, err := m.visit()
	if err != nil || result.RequeueAfter != lookAtLeast {
		t.Errorf("at rest it comes back after %s, %v", result.RequeueAfter, err)
	}
}

// TestBeforeTheConfigurations: webhooks may be registered after the replicas are ready.
func TestBeforeTheConfigurations(t *testing.T) {
	w := newWorld(t)
	m := w.replica()
	m.settle()
	if err := m.holder.Ready(nil); err != nil {
		t.Errorf("not ready: %v", err)
	}
	for _, c := range registered() {
		if err := w.server.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	m.settle()
	if got := w.bundles(); len(got) != 3 || slices.Contains(got, "") {
		t.Errorf("caBundles %q", got)
	}
}

// TestReplicas: many start at once, and agree.
func TestReplicas(t *testing.T) {
	w := newWorld(t, registered()...)
	first, second, third := w.replica(), w.replica(), w.replica()
	w.meanwhile = func(context.Context, client.Client) error { // between what the first reads and what it writes
		second.settle()
		return nil
	}
	result, err := first.visit()
	if err != nil || result.RequeueAfter != soon {
		t.Errorf("the slower one comes back after %s, %v", result.RequeueAfter, err)
	}
	first.settle()
	third.settle()
	want := fingerprint(w.stored().Serving.Leaf)
	for _, m := range []*member{first, second, third} {
		if m.serves() != want || m.holder.Ready(nil) != nil {
			t.Errorf("serves %s instead of %s", m.serves(), want)
		}
	}
	if got := len(w.sent()); got != 2 {
		t.Errorf("%d Events about one CA and one certificate", got)
	}
}

// TestStripped: whatever happens to a caBundle, it is put back, and nothing else is touched.
func TestStripped(t *testing.T) {
	tests := []struct {
		reason string
		change func(*admissionregistrationv1.ValidatingWebhookConfiguration)
		counts float64
	}{
		{"nothing", func(*admissionregistrationv1.ValidatingWebhookConfiguration) {}, 1},
		{"stripped of one webhook", func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[1].ClientConfig.CABundle = nil
		}, 2},
		{"replaced", func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].ClientConfig.CABundle = []byte("-----BEGIN")
		}, 2},
		{"another webhook", func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks = append([]admissionregistrationv1.ValidatingWebhook{*c.Webhooks[0].DeepCopy()}, c.Webhooks...)
			c.Webhooks[0].Name, c.Webhooks[0].ClientConfig.CABundle = "new.meshwarden.io", nil
		}, 2},
		{"something else", func(c *admissionregistrationv1.ValidatingWebhookConfiguration) {
			c.Webhooks[0].TimeoutSeconds, c.Labels = new(int32(7)), map[string]string{"team": "a"}
		}, 1},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w, m := installed(t)
			w.pass(time.Hour)
			bundle := []byte(w.bundles()[0])
			c := &admissionregistrationv1.ValidatingWebhookConfiguration{}
			w.change(c, "", "meshwarden", func() { tc.change(c) })
			m.settle()
			got, want := &admissionregistrationv1.ValidatingWebhookConfiguration{}, c.DeepCopy()
			w.get("", "meshwarden", got)
			for i := range want.Webhooks {
				want.Webhooks[i].ClientConfig.CABundle = bundle
			}
			if diff := cmp.Diff(want.Webhooks, got.Webhooks); diff != "" {
				t.Errorf("webhooks (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want.Labels, got.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if n := m.metric(injectionMetric, "ValidatingWebhookConfiguration"); n != tc.counts {
				t.Errorf("%v injections", n)
			}
			if err := m.holder.Ready(nil); err != nil {
				t.Errorf("not ready any more: %v", err)
			}
		})
	}
}

// TestStrippedAgain: somebody who insists cannot make the replica write without a pause.
func TestStrippedAgain(t *testing.T) {
	w, m := installed(t)
	w.pass(time.Hour)
	strip := func() {
		c := &admissionregistrationv1.MutatingWebhookConfiguration{}
		w.change(c, "", "meshwarden", func() { c.Webhooks[0].ClientConfig.CABundle = nil })
	}
	strip()
	m.settle()
	strip()
	w.pass(time.Second / 4)
	if result, err := m.visit(); err != nil || result.RequeueAfter != injectPause*3/4 || !slices.Contains(w.bundles(), "") {
		t.Errorf("comes back after %s, %v", result.RequeueAfter, err)
	}
	w.pass(injectPause)
	m.settle()
	if slices.Contains(w.bundles(), "") {
		t.Error("never put back")
	}
}

// TestOthersChanges: what somebody writes between a read and a write of ours stays.
func TestOthersChanges(t *testing.T) {
	w, m := installed(t)
	w.pass(time.Hour)
	c := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	w.change(c, "", "meshwarden", func() { c.Webhooks[0].ClientConfig.CABundle = nil })
	w.meanwhile = func(context.Context, client.Client) error {
		c := &admissionregistrationv1.ValidatingWebhookConfiguration{}
		w.change(c, "", "meshwarden", func() { c.Webhooks = c.Webhooks[1:] })
		return nil
	}
	if result, err := m.visit(); err != nil || result.RequeueAfter != soon {
		t.Errorf("comes back after %s, %v", result.RequeueAfter, err)
	}
	m.settle()
	if got := w.bundles(); len(got) != 2 || slices.Contains(got, "") {
		t.Errorf("caBundles %q", got)
	}
	// The same for the Secret.
	annotate := func(key, value string) {
		s := &corev1.Secret{}
		w.change(s, "meshwarden", "meshwarden-certificate", func() { s.Annotations[key], s.Data["extra"] = value, []byte(value) })
	}
	annotate(RenewAnnotation, "certificate")
	w.meanwhile = func(context.Context, client.Client) error {
		annotate("team", "a")
		return nil
	}
	if result, err := m.visit(); err != nil || result.RequeueAfter != soon {
		t.Errorf("comes back after %s, %v", result.RequeueAfter, err)
	}
	m.settle()
	got := w.secret()
	if _, asked := got.Annotations[RenewAnnotation]; asked || got.Annotations["team"] != "a" || string(got.Data["extra"]) != "a" {
		t.Errorf("annotations %v, extra %q", got.Annotations, got.Data["extra"])
	}
}

// TestRotationOfCA goes through a rotation that somebody asked for, with two replicas.
func TestRotationOfCA(t *testing.T) {
	w, m := installed(t)
	other := w.replica()
	other.settle()
	w.pass(day)
	first := m.serves()
	s := &corev1.Secret{}
	w.change(s, "meshwarden", "meshwarden-certificate", func() { s.Annotations[RenewAnnotation] = "ca" })
	m.settle()
	if _, asked := w.secret().Annotations[RenewAnnotation]; asked || len(w.stored().Authorities) != 2 || m.serves() != first {
		t.Errorf("asked %v, %d CAs, serves the first: %v", asked, len(w.stored().Authorities), m.serves() == first)
	}
	if got := w.bundles(); got[0] != string(w.stored().Bundle()) || got[2] != got[0] {
		t.Error("the new CA is not trusted yet")
	}
	result, err := m.visit()
	if err != nil || result.RequeueAfter != lookAtLeast || w.stored().Trusted.Of == "" {
		t.Errorf("comes back after %s, %v, trusted since %s", result.RequeueAfter, err, w.stored().Trusted)
	}
	w.pass(testTerms().Overlap())
	other.settle()
	m.settle()
	if m.serves() == first || m.serves() != other.serves() || len(w.stored().Authorities) != 2 || !trustedByAll(w) {
		t.Errorf("%d CAs, serve %s and %s", len(w.stored().Authorities), m.serves(), other.serves())
	}
	w.pass(testTerms().Overlap())
	m.settle()
	if stored := w.stored(); len(stored.Authorities) != 1 || !trustedByAll(w) || w.bundles()[0] != string(stored.Bundle()) {
		t.Errorf("%d CAs", len(stored.Authorities))
	}
}

// TestRefused: what may not be written does not keep the rest from being done.
func TestRefused(t *testing.T) {
	forbidden := func(o client.Object) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "somethings"}, o.GetName(), errors.New("no"))
	}
	terminating := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "", errors.New("being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	isSecret := func(o client.Object) bool { _, ok := o.(*corev1.Secret); return ok }
	tests := []struct {
		reason string
		refuse func(client.Object) error
		says   string // of the error; empty: none
		ready  string
	}{
		{"the webhook configurations", func(o client.Object) error {
			if isSecret(o) {
				return nil
			}
			return forbidden(o)
		}, "writing the caBundle of ValidatingWebhookConfiguration meshwarden", "do not trust the serving certificate yet"},
		{"the Secret", func(o client.Object) error { return forbidden(o) }, "writing secret meshwarden/meshwarden-certificate", "holds none yet"},
		{"the Secret, as the namespace is being deleted", func(client.Object) error { return terminating }, "", "holds none yet"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, registered()...)
			w.refuse = tc.refuse
			m := w.replica()
			var err error
			for range 3 {
				_, err = m.visit()
			}
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v", err)
			}
			if err := m.holder.Ready(nil); err == nil || !strings.Contains(err.Error(), tc.ready) {
				t.Errorf("ready: %v", err)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	w := newWorld(t)
	good := w.replica().options
	tests := []struct {
		reason string
		change func(*Options)
		good   bool
	}{
		{"as they are", func(*Options) {}, true},
		{"no Secret", func(o *Options) { o.Secret.Name = "" }, false},
		{"no configuration", func(o *Options) { o.Configuration = "" }, false},
		{"no name", func(o *Options) { o.Terms.DNSNames = nil }, false},
		{"a CA that hardly outlives a certificate", func(o *Options) { o.Terms.CALifetime = o.Terms.Lifetime + time.Hour }, false},
		{"no holder", func(o *Options) { o.Holder = nil }, false},
	}
	for _, tc := range tests {
		o := good
		tc.change(&o)
		if err := o.validate(); (err == nil) != tc.good {
			t.Errorf("%s: %v", tc.reason, err)
		}
	}
}

// TestCached: a selector for each object, or RBAC by name would refuse the watch.
func TestCached(t *testing.T) {
	got := map[string]string{}
	for o, by := range Cached(client.ObjectKey{Namespace: "a", Name: "b"}, "c") {
		switch o := o.(type) {
		case *corev1.Secret:
			for namespace, c := range by.Namespaces {
				got[namespace] = c.FieldSelector.String()
			}
		default:
			got[kindOf(o)] = by.Field.String()
		}
	}
	want := map[string]string{"a": "metadata.name=b", "MutatingWebhookConfiguration": "metadata.name=c", "ValidatingWebhookConfiguration": "metadata.name=c"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("selectors (-want +got):\n%s", diff)
	}
}

func TestForeign(t *testing.T) {
	data := map[string][]byte{"tls.crt": nil}
	tests := []struct {
		reason string
		secret corev1.Secret
		says   string
	}{
		{"there is none yet", corev1.Secret{}, ""},
		{"an empty one was prepared", corev1.Secret{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "1"}}, ""},
		{"a keeper made it", corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{ownLabel: ownLabelValue}}, Data: data}, ""},
		{"somebody else's key is in it", corev1.Secret{Data: data}, "somebody else made it"},
		{"cert-manager keeps it", corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{certManagerAnnotation: "a"}}, Data: data}, "cert-manager keeps it"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if err := foreign(&tc.secret); (err != nil) != (tc.says != "") || err != nil && !strings.HasPrefix(err.Error(), tc.says) {
				t.Errorf("foreign: %v, want %q", err, tc.says)
			}
		})
	}
}
