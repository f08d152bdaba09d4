package suite

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// testOperatorLimits tries, as the operator, what it has no business to do.
func testOperatorLimits(t *testing.T, o *operated) {
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	noError(t, "read the operator's kubeconfig", err)
	as, err := client.New(config, client.Options{Mapper: o.client.RESTMapper()})
	noError(t, "make a client", err)
	list := func(apiVersion, kind, namespace string) func(context.Context) error {
		return func(ctx context.Context) error {
			l := &unstructured.UnstructuredList{}
			l.SetAPIVersion(apiVersion)
			l.SetKind(kind + "List")
			return as.List(ctx, l, client.InNamespace(namespace))
		}
	}
	create := func(text string) func(context.Context) error {
		return func(ctx context.Context) error { return as.Create(ctx, documents(text)[0], client.DryRunAll) }
	}
	for _, l := range []struct {
		reason  string
		try     func(context.Context) error
		allowed bool
	}{
		{"IstioOperators of a watched namespace are what it is there for", list("install.istio.io/v1alpha1", "IstioOperator", "mesh-two"), true},
		{"of another namespace it sees none", list("install.istio.io/v1alpha1", "IstioOperator", "default"), false},
		{"it deletes none", func(ctx context.Context) error {
			return as.Delete(ctx, documents(istioOperator("default", "stranger", ""))[0], client.DryRunAll)
		}, false},
		{"it reads no Secrets", list("v1", "Secret", "istio-system"), false},
		{"it writes no IstioOperator", create(istioOperator("istio-system", "own", "  profile: minimal")), false},
		{"it makes no CRDs but Istio's", create(networkAttachmentDefinition), false},
		{"it runs nothing but what a controller runs", create("apiVersion: v1\nkind: Pod\nmetadata: {namespace: default, name: own}\nspec: {containers: [{name: a, image: a}]}"), false},
		{"it deletes no namespace", func(ctx context.Context) error {
			return as.Delete(ctx, documents("apiVersion: v1\nkind: Namespace\nmetadata: {name: default}")[0], client.DryRunAll)
		}, false},
		{"it writes no user's object", create(virtualService("default", "own", "own.example.com", "mesh")), false},
	} {
		if err := l.try(t.Context()); l.allowed && err != nil || !l.allowed && !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", l.reason, err)
		}
	}
}
