package informer_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/meshwarden/meshwarden/pkg/informer"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// secret returns a Secret "namespace/name" with a value under the key.
func secret(name, key string) object {
	o := newObject("Secret", name, nil)
	o["data"] = map[string]string{key: base64.StdEncoding.EncodeToString([]byte("a"))}
	return o
}

// certificate returns a Certificate "namespace/name" that writes the Secret.
func certificate(name, secret string) object {
	return newObject("Certificate", name, map[string]any{"secretName": secret})
}

// newSecretsWorld returns a world in which Secrets are read.
func newSecretsWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, true, informer.Options{Reader: fake.NewClientBuilder().Build(), ReadSecrets: true})
}

// has says whether the model holds the Secret edge/name.
func (w *world) has(name string) func() bool {
	return func() bool {
		_, ok := w.model.World().Secret(policy.Key{Namespace: "edge", Name: name})
		return ok
	}
}

// TestSecretsFollow: Secrets for TLS are in the model, and of others not even the name.
func TestSecretsFollow(t *testing.T) {
	w := newSecretsWorld(t)
	w.server.put("secrets", secret("edge/listed", "tls.crt"))
	w.server.put("secrets", secret("edge/password", "password"))
	w.start(t)
	w.ready(t)
	if !w.has("listed")() || w.has("password")() || !w.model.World().SecretsKnown("edge") {
		t.Error("the model lacks the Secret for TLS, or has another one, or does not know that it knows all of them")
	}
	w.server.put("secrets", secret("edge/token", "token"))
	w.server.put("secrets", secret("edge/watched", "ca.crt"))
	w.eventually(t, "a Secret that comes later", w.has("watched"))
	w.server.put("secrets", secret("edge/watched", "password"))
	w.eventually(t, "a Secret that is for TLS no more", func() bool { return !w.has("watched")() })
	w.server.remove("secrets", secret("edge/listed", "tls.crt"))
	w.eventually(t, "no Secret", func() bool { return w.model.Count(policy.KindSecret) == 0 })
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	for selector := range w.server.resources["secrets"].selectors {
		if !strings.Contains(selector, "type!=kubernetes.io/service-account-token,") || !strings.Contains(selector, "type!=helm.sh/release.v1") {
			t.Errorf("Secrets that can be of no use are read, too: %q", selector)
		}
	}
}

// TestSecretsAreNotRead unless that is asked for: nobody asks the API server for them, and none is said to be missing.
func TestSecretsAreNotRead(t *testing.T) {
	w := newWorld(t, true)
	w.server.answer("secrets", http.StatusForbidden)
	w.server.put("secrets", secret("edge/tls", "tls.crt"))
	w.start(t)
	w.ready(t)
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	if len(w.server.resources["secrets"].selectors) > 0 || w.model.World().SecretsKnown("edge") {
		t.Error("Secrets are read without being asked for")
	}
}

// TestSecretsWithoutRights: who wants Secrets read and does not grant it learns of it.
func TestSecretsWithoutRights(t *testing.T) {
	w := newSecretsWorld(t)
	w.server.answer("secrets", http.StatusForbidden)
	w.start(t)
	w.eventually(t, "the reason is known", func() bool {
		err := w.Ready()
		return err != nil && strings.HasPrefix(err.Error(), "cannot read secrets: ") && len(w.log.having("cannot list or watch", "secrets")) > 0
	})
	w.server.answer("secrets", http.StatusOK)
	w.eventuallyRetrying(t, "ready", func() bool { return w.Ready() == nil })
}

// TestCertificatesFollow: cert-manager may come later, without a restart.
func TestCertificatesFollow(t *testing.T) {
	w := newWorld(t, true)
	w.server.answer("certificates", http.StatusNotFound)
	w.start(t)
	w.ready(t)
	w.server.answer("certificates", http.StatusOK)
	w.server.put("certificates", certificate("edge/web", "tls"))
	w.eventuallyRetrying(t, "the Certificate", func() bool {
		for c := range w.model.World().CertificatesWriting("tls") {
			return c.Key == policy.Key{Namespace: "edge", Name: "web"}
		}
		return false
	})
	w.server.answer("certificates", http.StatusNotFound)
	w.eventuallyRetrying(t, "no Certificate without its CRD", func() bool { return w.model.Count(policy.KindCertificate) == 0 && w.Ready() == nil })
}

// TestReadCertificates reads them past the model. A Secret that is there and of no use is told apart from none.
func TestReadCertificates(t *testing.T) {
	w := newSecretsWorld(t)
	w.server.put("secrets", secret("edge/password", "password"))
	w.server.put("certificates", certificate("edge/web", "tls"))
	read := func(kind policy.Kind, name string) policy.Resource {
		o, err := w.Read(context.Background(), policy.Ref{Kind: kind, Key: policy.Key{Namespace: "edge", Name: name}})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if c, ok := read(policy.KindCertificate, "web").(*policy.Certificate); !ok || c.SecretName != "tls" {
		t.Errorf("Certificate %v", c)
	}
	if s, ok := read(policy.KindSecret, "password").(*policy.Secret); !ok || s.Relevant() || s.Pair.Fault == "" {
		t.Errorf("Secret %v", s)
	}
	if o := read(policy.KindSecret, "gone"); o != nil {
		t.Errorf("a Secret that is not there is read as %v", o)
	}
}
