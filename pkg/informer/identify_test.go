package informer_test

import (
	"maps"
	"net/http"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// What an Event is about is looked up when it is written: objects that are going need none.
func TestIdentify(t *testing.T) {
	withMetadata := func(o object, field string, value any) object {
		metadata, _ := o["metadata"].(map[string]any)
		metadata = maps.Clone(metadata)
		metadata[field] = value
		o = maps.Clone(o)
		o["metadata"] = metadata
		return o
	}
	for _, tc := range []struct {
		reason, name string
		answer       int
		uid          types.UID
		there, fails bool
	}{
		{reason: "an object", name: "public", uid: "u-1", there: true},
		{reason: "one that cannot be parsed is there as well", name: "broken", uid: "u-2", there: true},
		{reason: "one that waits for its finalizers", name: "going", uid: "u-3"},
		{reason: "none", name: "gone"},
		{reason: "nobody knows", name: "public", answer: http.StatusForbidden, fails: true},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			w := newWorld(t, true)
			w.server.put("gateways", withMetadata(gateway("infra/public", "a.example.com"), "uid", "u-1"))
			w.server.put("gateways", withMetadata(newObject("Gateway", "infra/broken", map[string]any{"servers": 5}), "uid", "u-2"))
			going := withMetadata(gateway("infra/going", "a.example.com"), "uid", "u-3")
			w.server.put("gateways", withMetadata(going, "deletionTimestamp", "2026-01-01T00:00:00Z"))
			if tc.answer != 0 {
				w.server.answer("gateways", tc.answer)
			}
			ref := policy.Ref{Kind: policy.KindGateway, Key: policy.Key{Namespace: "infra", Name: tc.name}}
			uid, there, err := w.Identify(t.Context(), ref)
			if uid != tc.uid || there != tc.there || (err != nil) != tc.fails {
				t.Errorf("Identify = %q, %t, %v", uid, there, err)
			}
		})
	}
	if _, _, err := newWorld(t, true).Identify(t.Context(), policy.Ref{Kind: "ServiceEntry"}); err == nil {
		t.Error("a kind that is not followed is found")
	}
}
