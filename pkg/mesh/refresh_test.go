package mesh_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// reader answers from a map; what is missing there does not exist, and an error among the answers is what Read returns.
type reader map[policy.Ref]any

func (r reader) Read(ctx context.Context, ref policy.Ref) (policy.Resource, error) {
	switch answer := r[ref].(type) {
	case error:
		return nil, answer
	case policy.Resource:
		return answer, nil
	}
	return nil, ctx.Err()
}

func TestRefresh(t *testing.T) {
	public, internal := gateway("edge", "public"), gateway("edge", "internal")
	web := virtualService("edge", "web")
	renewed := gateway("edge", "public")
	broken := errors.New("the API server is away")
	tests := []struct {
		reason  string
		answers reader
		refs    []policy.Ref
		want    []string
		wantErr string
	}{
		{"nothing to read", nil, nil, []string{"Gateway edge/public", "VirtualService edge/web"}, ""},
		{
			"an object that the model lacks is put",
			reader{internal.Ref(): internal},
			[]policy.Ref{internal.Ref()},
			[]string{"Gateway edge/internal", "Gateway edge/public", "VirtualService edge/web"},
			"",
		},
		{"an object that is gone is removed", nil, []policy.Ref{web.Ref()}, []string{"Gateway edge/public"}, ""},
		{"an object that neither has", nil, []policy.Ref{internal.Ref()}, []string{"Gateway edge/public", "VirtualService edge/web"}, ""},
		{
			"several at once",
			reader{internal.Ref(): internal, public.Ref(): renewed},
			[]policy.Ref{public.Ref(), internal.Ref(), web.Ref()},
			[]string{"Gateway edge/internal", "Gateway edge/public"},
			"",
		},
		{
			"one error leaves everything as it was",
			reader{internal.Ref(): internal, web.Ref(): broken},
			[]policy.Ref{public.Ref(), internal.Ref(), web.Ref()},
			[]string{"Gateway edge/public", "VirtualService edge/web"},
			"read VirtualService edge/web: the API server is away",
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			m := newModel(t, public, web)
			w := m.World()
			err := w.Refresh(t.Context(), tc.answers, tc.refs)
			if tc.wantErr == "" && err != nil || tc.wantErr != "" && (err == nil || err.Error() != tc.wantErr) {
				t.Errorf("Refresh: %v, want %q", err, tc.wantErr)
			}
			if err != nil && !errors.Is(err, broken) {
				t.Errorf("Refresh: %v does not wrap what Read returned", err)
			}
			if diff := cmp.Diff(tc.want, stored(w)); diff != "" {
				t.Errorf("the world afterwards (-want +got):\n%s", diff)
			}
			if got, _ := w.Gateway(public.Key); tc.answers[public.Ref()] == any(renewed) && got != renewed {
				t.Error("the world keeps the old version of what was read")
			}
			wantStored(t, m, "Gateway edge/public", "VirtualService edge/web")
		})
	}
}

func TestRefreshEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := newModel(t, gateway("edge", "public")).World()
	if err := w.Refresh(ctx, reader{}, []policy.Ref{gateway("edge", "public").Ref()}); !errors.Is(err, context.Canceled) {
		t.Errorf("Refresh: %v, want the context's error", err)
	}
	if diff := cmp.Diff([]string{"Gateway edge/public"}, stored(w)); diff != "" {
		t.Errorf("the world afterwards (-want +got):\n%s", diff)
	}
}
