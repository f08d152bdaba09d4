package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/internal/port"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
	"github.com/meshwarden/meshwarden/e2e/process"
)

// operated is a control plane with nodes and the operator of IstioOperators, as its manifests install it, for one test.
type operated struct {
	*environment
	program, kubeconfig string
	replicas            []*operatorReplica
}

// operatorReplica is one process of the operator.
type operatorReplica struct {
	*process.Process
	health, metrics string
}

// startOperator returns an environment with that many replicas of the operator, under their own ServiceAccount, watching istio-system and mesh-two. The
// API server must refuse them nothing.
func startOperator(t *testing.T, replicas int) *operated {
	t.Helper()
	o := &operated{environment: startControlPlaneWith(t, controlplane.Options{Nodes: 1})}
	var err error
	o.program, err = binary.Build(t.Context(), binary.Installer, nil)
	noError(t, "build the installer", err)
	for _, name := range []string{"istio-operator", "istio-system", "mesh-two"} {
		o.namespace(t, name)
	}
	for _, file := range []string{"crd.yaml", "rbac.yaml"} {
		text, err := os.ReadFile(repository("installer", "pkg", "installation", "manifests", file))
		noError(t, "read the operator's manifests", err)
		noError(t, "apply the operator's manifests", meshwarden.Apply(t.Context(), o.client, documents(string(text))))
	}
	for _, namespace := range []string{"mesh-two"} {
		for _, kind := range []string{"Role", "RoleBinding"} {
			copied := o.object(t, "rbac.authorization.k8s.io/v1", kind, "istio-system", "istio-operator-watched")
			copied.SetNamespace(namespace)
			copied.SetResourceVersion("")
			noError(t, "grant the rights in a watched namespace", o.client.Create(t.Context(), copied))
		}
	}
	o.kubeconfig = o.grant(t, "istio-operator", "istio-operator")
	t.Cleanup(func() {
		if lines := o.log.find("forbidden: User"); len(lines) > 0 {
			t.Errorf("the API server refused the operator what the manifests should grant: %s", lines[0])
		}
	})
	for range replicas {
		o.startReplica(t)
	}
	return o
}

// grant writes a kubeconfig by which a process is the ServiceAccount, and returns its path.
func (e *environment) grant(t *testing.T, namespace, serviceAccount string) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: serviceAccount}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](24 * 60 * 60)}}
	noError(t, "request a token", e.client.SubResource("token").Create(t.Context(), account, request))
	config := rest.AnonymousClientConfig(e.cp.Config())
	config.BearerToken = request.Status.Token
	path := filepath.Join(t.TempDir(), "kubeconfig")
	noError(t, "write a kubeconfig", controlplane.WriteKubeconfig(config, path))
	return path
}

// startReplica starts a process of the operator and waits until it is ready.
func (o *operated) startReplica(t *testing.T) {
	t.Helper()
	r := &operatorReplica{health: reserved(t), metrics: reserved(t)}
	var err error
	r.Process, err = process.Start(process.Config{
		Name: fmt.Sprintf("operator-%d", len(o.replicas)), Path: o.program, Log: o.log,
		Args: []string{
			"operator", "--watch-namespaces=istio-system,mesh-two", "--namespace=istio-operator", "--kubeconfig=" + o.kubeconfig,
			"--health-address=" + r.health, "--metrics-address=" + r.metrics,
		},
	})
	noError(t, "start the operator", err)
	t.Cleanup(func() { noError(t, "stop the operator", r.Stop(background(t))) })
	o.eventually(t, "the operator is ready", func(ctx context.Context) error {
		_, err := read(ctx, "http://"+r.health+"/readyz")
		return err
	})
	o.replicas = append(o.replicas, r)
}

// reserved returns a loopback address for a program to listen on, which nobody else gets until the end of the test.
func reserved(t *testing.T) string {
	t.Helper()
	r, err := port.Reserve()
	noError(t, "find an address", err)
	t.Cleanup(r.Close)
	return r.Address()
}

func read(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}

// sum adds up a metric of all replicas: the samples whose lines begin so.
func (o *operated) sum(t *testing.T, prefix string) float64 {
	t.Helper()
	total := 0.0
	for _, r := range o.replicas {
		if r.ExitCode() >= 0 {
			continue // it was killed
		}
		text, err := read(t.Context(), "http://"+r.metrics+"/metrics")
		noError(t, "read the operator's metrics", err)
		for line := range strings.Lines(text) {
			var value float64
			if _, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &value); err == nil && strings.HasPrefix(line, prefix) {
				total += value
			}
		}
	}
	return total
}

// istioOperator returns the text of an IstioOperator, with the lines of a spec indented by two.
func istioOperator(namespace, name, spec string) string {
	return fmt.Sprintf("apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {namespace: %s, name: %s}\nspec:\n  hub: registry.istio.io/release\n  tag: 1.31.1\n%s\n", namespace, name, spec)
}

// object reads an object, or fails the test.
func (e *environment) object(t *testing.T, apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.FromAPIVersionAndKind(apiVersion, kind))
	noError(t, "get "+kind+" "+name, e.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, u))
	return u
}

// patch changes an object by a merge patch, as somebody else.
func (e *environment) patch(t *testing.T, u *unstructured.Unstructured, patch string) {
	t.Helper()
	noError(t, "patch "+u.GetKind()+" "+u.GetName(), e.client.Patch(t.Context(), u.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("somebody")))
}

// remove deletes an object, as somebody else.
func (e *environment) remove(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	noError(t, "delete "+u.GetKind()+" "+u.GetName(), e.client.Delete(t.Context(), u.DeepCopy()))
}

// iop reads an IstioOperator.
func (o *operated) iop(t *testing.T, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	return o.object(t, "install.istio.io/v1alpha1", "IstioOperator", namespace, name)
}

// waitStatus waits until the status of an IstioOperator's present generation is so, and its message holds the parts.
func (o *operated) waitStatus(t *testing.T, namespace, name, status string, parts ...string) *unstructured.Unstructured {
	t.Helper()
	var u *unstructured.Unstructured
	o.eventually(t, fmt.Sprintf("IstioOperator %s is %s", name, status), func(context.Context) error {
		u = o.iop(t, namespace, name)
		now, _, _ := unstructured.NestedString(u.Object, "status", "status")
		message, _, _ := unstructured.NestedString(u.Object, "status", "message")
		observed, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
		if now != status || observed != u.GetGeneration() {
			return fmt.Errorf("its status is %v", u.Object["status"])
		}
		for _, part := range parts {
			if !strings.Contains(message, part) {
				return fmt.Errorf("its message is %q, want %q in it", message, part)
			}
		}
		return nil
	})
	return u
}

// waitGone waits until an object is gone.
func (e *environment) waitGone(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	e.eventually(t, u.GetKind()+" "+u.GetName()+" is gone", func(ctx context.Context) error {
		err := e.client.Get(ctx, client.ObjectKeyFromObject(u), u.DeepCopy())
		if err == nil {
			return errors.New("it is there")
		}
		return client.IgnoreNotFound(err)
	})
}

// operatedKinds are the kinds that the operator may leave something of.
func operatedKinds() []schema.GroupVersionKind {
	var kinds []schema.GroupVersionKind
	for apiVersion, names := range map[string][]string{
		"v1":                              {"ServiceAccount", "ConfigMap", "Service", "ResourceQuota"},
		"apps/v1":                         {"Deployment", "DaemonSet"},
		"autoscaling/v2":                  {"HorizontalPodAutoscaler"},
		"policy/v1":                       {"PodDisruptionBudget"},
		"networking.k8s.io/v1":            {"NetworkPolicy"},
		"discovery.k8s.io/v1":             {"EndpointSlice"},
		"rbac.authorization.k8s.io/v1":    {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"},
		"apiextensions.k8s.io/v1":         {"CustomResourceDefinition"},
		"admissionregistration.k8s.io/v1": {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"},
	} {
		for _, kind := range names {
			kinds = append(kinds, schema.FromAPIVersionAndKind(apiVersion, kind))
		}
	}
	return kinds
}

// ownedBy returns what is labelled as an IstioOperator's, as "Kind namespace/name", sorted.
func (o *operated) ownedBy(t *testing.T, namespace, name string) []string {
	t.Helper()
	var found []string
	for _, kind := range operatedKinds() {
		l := &unstructured.UnstructuredList{}
		l.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		noError(t, "list "+kind.Kind, o.client.List(t.Context(), l, client.MatchingLabels{
			"install.operator.istio.io/owning-resource": name, "install.operator.istio.io/owning-resource-namespace": namespace,
		}))
		for i := range l.Items {
			if metav1.GetControllerOf(&l.Items[i]) != nil {
				continue // EndpointSlices get their Service's labels
			}
			found = append(found, kind.Kind+" "+l.Items[i].GetNamespace()+"/"+l.Items[i].GetName())
		}
	}
	slices.Sort(found)
	return found
}
