package controlplane_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/module"
)

// TestCluster looks at one control plane from all sides, since each takes seconds
// to start. The parts leave it as they found it.
func TestCluster(t *testing.T) {
	cp := start(t, controlplane.Options{})
	parts := []struct {
		reason string
		test   func(*testing.T, *controlplane.ControlPlane)
	}{
		{"the kubeconfig leads to a server of the right version", testKubeconfig},
		{"another user has a name, groups and no rights", testOtherUser},
		{"a service account has a token and no rights", testServiceAccount},
		{"istio's CRDs are served, and applying them again changes nothing", testIstioCRDs},
		{"a deleted namespace goes away with what is in it", testNamespaceDeletion},
		{"a webhook is reached through its Service", testWebhookRoute},
		{"a paused API server does not answer until it is resumed", testPause},
		{"a killed etcd comes back with its data", testKillEtcd},
		{"a killed API server comes back at the same address", testKillAPIServer},
		{"a running controller manager can be restarted", testRestartControllerManager},
	}
	for _, part := range parts {
		t.Run(part.reason, func(t *testing.T) { part.test(t, cp) })
	}
}

func testKubeconfig(t *testing.T, cp *controlplane.ControlPlane) {
	config, err := clientcmd.BuildConfigFromFlags("", cp.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	got, err := clientFor(t, config).Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	want, err := module.Version(t.Context(), "k8s.io/kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	if got.GitVersion != want {
		t.Errorf("server's version: %s, want %s", got.GitVersion, want)
	}
}

func testOtherUser(t *testing.T, cp *controlplane.ControlPlane) {
	config, err := cp.ConfigFor("jane", "team-a", "team-b")
	if err != nil {
		t.Fatal(err)
	}
	wantIdentity(t, clientFor(t, config), "jane", "team-a", "team-b", "system:authenticated")
	wantNoRights(t, clientFor(t, config))
}

func testServiceAccount(t *testing.T, cp *controlplane.ControlPlane) {
	accounts := clientFor(t, cp.Config()).CoreV1().ServiceAccounts(metav1.NamespaceDefault)
	eventually(t, "the default service account is there", func(ctx context.Context) (bool, error) {
		_, err := accounts.Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	token, err := accounts.CreateToken(t.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(cp.Config())
	config.BearerToken = token.Status.Token
	wantIdentity(t, clientFor(t, config), "system:serviceaccount:default:default", "system:serviceaccounts")
	wantNoRights(t, clientFor(t, config))
}

func testIstioCRDs(t *testing.T, cp *controlplane.ControlPlane) {
	crds, err := controlplane.IstioCRDs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := cp.ApplyCRDs(t.Context(), crds); err != nil {
			t.Fatal(err)
		}
	}
	resources, err := clientFor(t, cp.Config()).Discovery().ServerResourcesForGroupVersion("networking.istio.io/v1")
	if err != nil {
		t.Fatal(err)
	}
	isVirtualService := func(resource metav1.APIResource) bool { return resource.Kind == "VirtualService" }
	if !slices.ContainsFunc(resources.APIResources, isVirtualService) {
		t.Errorf("networking.istio.io/v1 has %v, want a VirtualService among them", resources.APIResources)
	}
	err = cp.ApplyCRDs(t.Context(), []byte("kind: Secret\nmetadata:\n  name: other\n"))
	if err == nil || !strings.Contains(err.Error(), `Secret "other" is not a CustomResourceDefinition`) {
		t.Errorf("ApplyCRDs of something else: %v, want an error that names it", err)
	}
}

func testNamespaceDeletion(t *testing.T, cp *controlplane.ControlPlane) {
	client := clientFor(t, cp.Config())
	createNamespace(t, client, "doomed")
	createConfigMap(t, client, "doomed", "content")
	if err := client.CoreV1().Namespaces().Delete(t.Context(), "doomed", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace is gone", func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().Namespaces().Get(ctx, "doomed", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}

func testPause(t *testing.T, cp *controlplane.ControlPlane) {
	client := clientFor(t, cp.Config())
	if err := cp.Process(controlplane.APIServer).Pause(); err != nil {
		t.Fatal(err)
	}
	wantNoAnswer(t, client)
	if err := cp.Process(controlplane.APIServer).Resume(); err != nil {
		t.Fatal(err)
	}
	if err := cp.WaitReady(t.Context(), controlplane.APIServer); err != nil {
		t.Fatal(err)
	}
	createNamespace(t, client, "after-pause")
}

func testKillEtcd(t *testing.T, cp *controlplane.ControlPlane) {
	client := clientFor(t, cp.Config())
	createNamespace(t, client, "before-etcd-crash")
	if err := cp.Process(controlplane.Etcd).Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cp.WaitReady(t.Context(), controlplane.Etcd); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("WaitReady of a killed process: %v, want an error that says that it ended", err)
	}
	wantNoAnswer(t, client)
	if err := cp.Restart(t.Context(), controlplane.Etcd); err != nil {
		t.Fatal(err)
	}
	if err := cp.WaitReady(t.Context(), controlplane.APIServer); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), "before-etcd-crash", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	createNamespace(t, client, "after-etcd-crash")
}

func testKillAPIServer(t *testing.T, cp *controlplane.ControlPlane) {
	if err := cp.Process(controlplane.APIServer).Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cp.Restart(t.Context(), controlplane.APIServer); err != nil {
		t.Fatal(err)
	}
	createNamespace(t, clientFor(t, cp.Config()), "after-apiserver-crash")
}

func testRestartControllerManager(t *testing.T, cp *controlplane.ControlPlane) {
	before := cp.Process(controlplane.ControllerManager)
	if err := cp.Restart(t.Context(), controlplane.ControllerManager); err != nil {
		t.Fatal(err)
	}
	if after := cp.Process(controlplane.ControllerManager); after.PID() == before.PID() {
		t.Error("the process is the same after Restart")
	}
}

func wantIdentity(t *testing.T, client *kubernetes.Clientset, user string, groups ...string) {
	t.Helper()
	review, err := client.AuthenticationV1().SelfSubjectReviews().
		Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := review.Status.UserInfo
	if got.Username != user {
		t.Errorf("user: %s, want %s", got.Username, user)
	}
	for _, group := range groups {
		if !slices.Contains(got.Groups, group) {
			t.Errorf("groups: %v, want %s among them", got.Groups, group)
		}
	}
}

func wantNoRights(t *testing.T, client *kubernetes.Clientset) {
	t.Helper()
	if _, err := client.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("list secrets: %v, want forbidden", err)
	}
}

// wantNoAnswer makes a request that has to get past the API server's caches.
func wantNoAnswer(t *testing.T, client *kubernetes.Clientset) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	_, err := client.CoreV1().ConfigMaps(metav1.NamespaceDefault).Create(ctx, configMap("unanswered"), metav1.CreateOptions{})
	if err == nil {
		t.Error("a request was answered, want none")
	}
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func createConfigMap(t *testing.T, client *kubernetes.Clientset, namespace, name string) {
	t.Helper()
	_, err := client.CoreV1().ConfigMaps(namespace).Create(t.Context(), configMap(name), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}
