package operator

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/fluxcd/pkg/ssa"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestCompare(t *testing.T) {
	const never = 1000
	for name, tc := range map[string]struct {
		reason string
		// stored is the content in the cluster; none if empty.
		stored string
		// writes is how often somebody else writes an annotation right after the object was read.
		writes int
		// created is set where somebody else creates it right after it was not found.
		created bool
		// unreadable is set where the API server refuses to show it.
		unreadable bool
		want       ssa.Action
		err        string
	}{
		"Same":    {reason: "Nothing is to be done.", stored: "as described", want: ssa.UnchangedAction},
		"Drifted": {reason: "Somebody changed it.", stored: "edited", want: ssa.ConfiguredAction},
		"Gone":    {reason: "Somebody deleted it.", want: ssa.CreatedAction},
		"Between": {reason: "An annotation of somebody else is no drift, whenever it was written.", stored: "as described", writes: 3, want: ssa.UnchangedAction},
		"Both":    {reason: "The drift is found all the same.", stored: "edited", writes: 3, want: ssa.ConfiguredAction},
		"Created": {reason: "Somebody else was faster.", created: true, want: ssa.UnchangedAction},
		"Unreadable": {
			reason: "The API server's own words tell what is missing.", stored: "as described", unreadable: true,
			err: "read ConfigMap istio-system/istio: configmaps \"istio\" is forbidden: no right",
		},
		"Always": {reason: "It does not go on for ever.", stored: "as described", writes: never, err: "compare ConfigMap istio-system/istio: others write it as fast as it can be read"},
	} {
		t.Run(name, func(t *testing.T) {
			writes := 0
			b := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
					if tc.unreadable {
						return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, key.Name, errors.New("no right"))
					}
					err := c.Get(ctx, key, o, options...)
					if tc.created && apierrors.IsNotFound(err) {
						return errors.Join(err, c.Create(ctx, configMap("istio", "as described")))
					}
					if writes < tc.writes {
						writes++
						other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
						patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/count":"%d"}}}`, writes))
						if err := client.IgnoreNotFound(c.Patch(ctx, other, patch)); err != nil {
							return err
						}
					}
					return err
				},
				// The fake forgets the version in a dry run, which the API server answers with.
				Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
					if patch.Type() != types.ApplyPatchType {
						return c.Patch(ctx, o, patch, options...)
					}
					stored := &corev1.ConfigMap{}
					err := c.Get(ctx, client.ObjectKeyFromObject(o), stored)
					o.SetAnnotations(stored.Annotations)
					o.SetResourceVersion(stored.ResourceVersion)
					return client.IgnoreNotFound(err)
				},
			})
			if tc.stored != "" {
				b.WithObjects(configMap("istio", tc.stored))
			}
			c := b.Build()
			r := &Reconciler{client: c, apply: ssa.NewResourceManager(c, nil, ssa.Owner{Field: FieldManager})}
			got, err := r.compare(t.Context(), configMap("istio", "as described"))
			if got != tc.want || message(err) != tc.err {
				t.Errorf("%s: compare returned %q, %q; want %q, %q", tc.reason, got, message(err), tc.want, tc.err)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
