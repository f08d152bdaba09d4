package informer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kuberuntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// publicHost is the one thing of the test's Secrets that may be found in the memory.
const publicHost = "found-in-the-heap.example.com"

// TestNoPrivateKeyInMemory decodes Secrets as a client does, puts them into the model, and looks for their keys in all of the
// process's memory that is in use. The keys are made, kept in files and compared by functions that leave nothing of them behind.
func TestNoPrivateKeyInMemory(t *testing.T) {
	folder := t.TempDir()
	for i := range 3 {
		writeSecrets(t, filepath.Join(folder, string(rune('a'+i))), i == 2)
	}
	model, err := mesh.New()
	if err != nil {
		t.Fatal(err)
	}
	s := &store{
		kind: policy.KindSecret, model: model, translator: func() istio.Translator { return istio.Translator{} }, lag: &lag{},
		log: logr.Discard(), onReplace: func() {}, unparsable: map[policy.Key]error{},
	}
	list(t, s, filepath.Join(folder, "a"))
	add(t, s, filepath.Join(folder, "b"))
	add(t, s, filepath.Join(folder, "c"))
	for range 3 { // what lies in pools goes with the second collection
		runtime.GC()
	}
	dump := filepath.Join(folder, "dump")
	f, err := os.Create(dump)
	if err != nil {
		t.Fatal(err)
	}
	debug.WriteHeapDump(f.Fd())
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	heap, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	if model.Count(policy.KindSecret) != 3 || !bytes.Contains(heap, []byte(publicHost)) {
		t.Fatalf("the model holds %d Secrets, and the names of their certificates are not in the dump of %d bytes", model.Count(policy.KindSecret), len(heap))
	}
	for _, name := range []string{"a", "b", "c"} {
		for _, trace := range []string{".scalar", ".pem", ".base64"} {
			private, err := os.ReadFile(filepath.Join(folder, name+trace))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(heap, private) {
				t.Errorf("the key of Secret %s is in memory (%s)", name, trace)
			}
		}
	}
	runtime.KeepAlive(s)
}

// writeSecrets writes a list with one Secret to the file, as an API server sends it, and beside it what is private in it: the
// number that is the key, the middle of its PEM, and the middle of that in base64. A broken one has the key of another certificate.
func writeSecrets(t *testing.T, file string, broken bool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certified := key
	if broken {
		if certified, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{publicHost}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &certified.PublicKey, certified)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
	text, err := json.Marshal(corev1.SecretList{Items: []corev1.Secret{{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "edge", Name: filepath.Base(file), Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: string(private)},
		},
		Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), "tls.key": private},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	value, err := json.Marshal(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"": text, ".scalar": scalar, ".pem": private[60:90], ".base64": value[100:140]} {
		if err := os.WriteFile(file+name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// decoded returns the list in the file, decoded as the informers' client does.
func decoded(t *testing.T, file string) *istio.SecretList {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	scheme := kuberuntime.NewScheme()
	if err := istio.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	into := &istio.SecretList{}
	codecs := serializer.NewCodecFactory(scheme).WithoutConversion()
	info, _ := kuberuntime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), kuberuntime.ContentTypeJSON)
	if _, _, err := info.Serializer.Decode(text, nil, into); err != nil {
		t.Fatal(err)
	}
	return into
}

// list puts the Secrets of the file into the store as a reflector does with a list.
func list(t *testing.T, s *store, file string) {
	t.Helper()
	var objects []any
	secrets := decoded(t, file)
	for i := range secrets.Items {
		objects = append(objects, &secrets.Items[i])
	}
	if err := s.Replace(objects, "1"); err != nil {
		t.Fatal(err)
	}
}

// add puts them there as a reflector does with an event.
func add(t *testing.T, s *store, file string) {
	t.Helper()
	secrets := decoded(t, file)
	o, err := s.Transformer()(&secrets.Items[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(o); err != nil {
		t.Fatal(err)
	}
}
