package certificate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestLost: a replica that remembers what it served puts it back, and its certificate goes on being trusted.
func TestLost(t *testing.T) {
	tests := []struct {
		reason   string
		lose     func(*world)
		forgets  bool
		restored bool // the same serving certificate
		event    string
	}{
		{"deleted", func(w *world) { w.delete() }, false, true, "Warning CertificateRestored"},
		{"deleted, and every replica is new", func(w *world) { w.delete() }, true, false, "Normal CertificateRenewed"},
		{"emptied", func(w *world) { w.damage(nil) }, false, true, "Warning CertificateRestored"},
		{"the CAs are gone", func(w *world) { w.damage(map[string]string{"ca.crt": "", "ca.key": ""}) }, false, true, "Warning CertificateRestored"},
		{"damaged, and every replica is new", func(w *world) { w.damage(map[string]string{"ca.crt": "x", "ca.key": "x"}) }, true, false, "Normal CertificateRenewed"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			w, m := installed(t)
			w.pass(time.Hour)
			before, trusted := m.serves(), w.bundles()
			tc.lose(w)
			if tc.forgets {
				m = w.replica()
			}
			m.settle()
			if (m.serves() == before) != tc.restored || m.serves() != fingerprint(w.stored().Serving.Leaf) {
				t.Errorf("served %s, serves %s", before, m.serves())
			}
			if tc.restored != cmp.Equal(trusted, w.bundles()) {
				t.Errorf("the caBundles are the same: %v", !tc.restored)
			}
			if sent := w.sent(); len(sent) == 0 || !strings.HasPrefix(sent[0], tc.event) {
				t.Errorf("Events %q", sent)
			}
			if !trustedByAll(w) || m.holder.Ready(nil) != nil {
				t.Errorf("not trusted afterwards: %v", m.holder.Ready(nil))
			}
		})
	}
}

// TestChangeOver: between cert-manager and the keeper, whoever comes later leaves the other's Secret alone.
func TestChangeOver(t *testing.T) {
	w, m := installed(t)
	w.pass(time.Hour)
	// cert-manager issues into the Secret, and its injector keeps the CA from before.
	theirs, err := Next(Situation{Now: w.clock.Now(), Terms: testTerms()})
	if err != nil {
		t.Fatal(err)
	}
	data, err := theirs.State.Data()
	if err != nil {
		t.Fatal(err)
	}
	both := slices.Concat(w.stored().Bundle(), data["ca.crt"])
	s := &corev1.Secret{}
	w.change(s, "meshwarden", "meshwarden-certificate", func() {
		s.Annotations[certManagerAnnotation] = "meshwarden-certificate"
		s.Data["ca.crt"], s.Data["tls.crt"], s.Data["tls.key"] = data["ca.crt"], data["tls.crt"], data["tls.key"]
	})
	want := w.secret().Data
	m.settle()
	if diff := cmp.Diff(want, w.secret().Data); diff != "" || m.serves() != fingerprint(theirs.State.Serving.Leaf) || !trustedByAll(w) {
		t.Errorf("serves %s; the Secret (-want +got):\n%s", m.serves(), diff)
	}
	c := &admissionregistrationv1.MutatingWebhookConfiguration{}
	w.change(c, "", "meshwarden", func() { c.Webhooks[0].ClientConfig.CABundle = both })
	w.pass(time.Hour)
	m.settle()
	if !slices.Contains(w.bundles(), string(both)) {
		t.Error("the injector's caBundle was undone")
	}
	// And back: without the Certificate, the Secret is deleted.
	w.delete()
	m.settle()
	if got := w.stored(); m.serves() != fingerprint(theirs.State.Serving.Leaf) || len(got.Authorities) != 2 || got.Authorities[1].Key == nil {
		t.Errorf("serves %s beside %d CAs", m.serves(), len(got.Authorities))
	}
	w.pass(time.Hour)
	m.settle()
	w.pass(testTerms().Overlap())
	m.settle()
	if got := w.stored(); got.Issuer(w.clock.Now(), testTerms().DNSNames) != 1 || !trustedByAll(w) {
		t.Error("the own CA never signs")
	}
}

func (w *world) delete() {
	w.t.Helper()
	if err := w.server.Delete(w.t.Context(), w.secret()); err != nil {
		w.t.Fatal(err)
	}
}

// damage replaces keys of the Secret's data; nil empties it.
func (w *world) damage(data map[string]string) {
	w.t.Helper()
	s := &corev1.Secret{}
	w.change(s, "meshwarden", "meshwarden-certificate", func() {
		if data == nil {
			s.Data = nil
		}
		for key, value := range data {
			s.Data[key] = []byte(value)
		}
	})
}

// trustedByAll says whether every webhook trusts what is stored.
func trustedByAll(w *world) bool {
	s := w.stored()
	for _, b := range w.bundles() {
		if !Trusts([]byte(b), s.Authorities[s.Issuer(w.clock.Now(), testTerms().DNSNames)].Certificate) {
			return false
		}
	}
	return true
}
