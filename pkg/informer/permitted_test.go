package informer

import (
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/meshwarden/meshwarden/pkg/istio"
)

func TestPermitted(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "", errors.New("all of them"))
	broken := errors.New("broken")
	mesh, pods := kind{kind: istio.KindConfigMap, enough: meshConfigMap}, kind{}
	tests := []struct {
		reason    string
		kind      kind
		all, one  error
		want      string
		wantError error
	}{
		{"all may be read", mesh, nil, broken, "all", nil},
		{"one of them is enough", mesh, forbidden, nil, "metadata.name=istio", nil},
		{"not even the one may be read, and the error is the one that says what to grant", mesh, forbidden, broken, "", forbidden},
		{"other errors are no reason to do with less", mesh, broken, nil, "", broken},
		{"where all are needed, one is not asked for", pods, forbidden, nil, "", forbidden},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := permitted(tc.kind, metav1.ListOptions{}, func(o metav1.ListOptions) (string, error) {
				switch {
				case o.FieldSelector == "" && tc.all == nil:
					return "all", nil
				case o.FieldSelector == "":
					return "", tc.all
				case tc.one != nil:
					return "", tc.one
				}
				return o.FieldSelector, nil
			})
			if got != tc.want || !errors.Is(err, tc.wantError) {
				t.Errorf("read %q, %v; want %q, %v", got, err, tc.want, tc.wantError)
			}
		})
	}
}
