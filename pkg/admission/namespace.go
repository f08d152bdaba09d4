package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	jsonpatch "gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// The outcomes that NamespaceHandler reports to its observer.
const (
	// NamespaceLabelled: the namespace got the injection label.
	NamespaceLabelled = "labelled"
	// NamespaceMarked: it got the mark alone, because its user chose already.
	NamespaceMarked = "marked"
	// NamespaceUntouched: nothing was added.
	NamespaceUntouched = "untouched"
	// NamespaceUnreadable: the request held no namespace that could be read.
	NamespaceUnreadable = "unreadable"
)

// NamespaceHandler is the mutating webhook for Namespaces: on CREATE it adds the
// injection label and the mark, as policy.AdmitNamespace decides. It has no side
// effects, so a dry run gets the same answer, and called again on its own result
// it adds nothing.
//
// It answers with an error when it cannot read the namespace. The webhook's
// failurePolicy is Ignore, so that blocks no namespace: it comes into being
// without label and mark, and the onboarding controller adds them.
type NamespaceHandler struct {
	excluded policy.Exclusions
	observe  func(outcome string, took time.Duration)
}

var _ admission.Handler = (*NamespaceHandler)(nil)

// NewNamespaceHandler returns a handler that leaves the excluded namespaces
// alone and tells observe the outcome of each request (one of the Namespace…
// constants) and how long the handler took. A nil observe is told nothing.
func NewNamespaceHandler(excluded policy.Exclusions, observe func(outcome string, took time.Duration)) *NamespaceHandler {
	if observe == nil {
		observe = func(string, time.Duration) {}
	}
	return &NamespaceHandler{excluded: excluded, observe: observe}
}

// Handle answers one admission request. Everything but the creation of a
// Namespace is allowed as it is.
func (h *NamespaceHandler) Handle(_ context.Context, req admission.Request) admission.Response {
	started := time.Now()
	response, outcome := h.answer(req)
	h.observe(outcome, time.Since(started))
	return response
}

func (h *NamespaceHandler) answer(req admission.Request) (response admission.Response, outcome string) {
	if req.Operation != admissionv1.Create || req.SubResource != "" ||
		req.Kind.Group != "" || req.Kind.Kind != "Namespace" {
		return admission.Allowed(""), NamespaceUntouched
	}
	ns, err := decodeNamespace(req.Object.Raw)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err), NamespaceUnreadable
	}
	add := policy.AdmitNamespace(ns, h.excluded)
	response = admission.Patched("", namespacePatch(ns, add)...)
	if value, ok := ns.Misspelt(); ok {
		response = response.WithWarnings(fmt.Sprintf("%s: %q is neither %q nor %q; Meshwarden leaves this namespace alone",
			policy.OnboardingKey, value, policy.ValueEnabled, policy.ValueDisabled))
	}
	switch {
	case len(add.Labels) > 0:
		return response, NamespaceLabelled
	case !add.Empty():
		return response, NamespaceMarked
	}
	return response, NamespaceUntouched
}

// decodeNamespace reads of the object what the decision needs. A map that is
// absent or null comes out nil, an empty one does not: the patch depends on it.
func decodeNamespace(raw []byte) (policy.Namespace, error) {
	var object struct {
		Metadata *struct {
			Name              string            `json:"name"`
			Labels            map[string]string `json:"labels"`
			Annotations       map[string]string `json:"annotations"`
			DeletionTimestamp *string           `json:"deletionTimestamp"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return policy.Namespace{}, fmt.Errorf("decoding the namespace in the admission request: %w", err)
	}
	if object.Metadata == nil {
		return policy.Namespace{}, errors.New("decoding the namespace in the admission request: it has no metadata")
	}
	return policy.Namespace{
		Name:        object.Metadata.Name,
		Labels:      object.Metadata.Labels,
		Annotations: object.Metadata.Annotations,
		Terminating: object.Metadata.DeletionTimestamp != nil,
	}, nil
}

// namespacePatch returns the JSON patch (RFC 6902) that makes the additions.
func namespacePatch(ns policy.Namespace, add policy.Additions) []jsonpatch.Operation {
	return slices.Concat(
		mapPatch("/metadata/labels", ns.Labels, add.Labels),
		mapPatch("/metadata/annotations", ns.Annotations, add.Annotations))
}

// mapPatch adds entries to the map at path: the whole map where there is none
// (an "add" below an absent or null parent fails), else key by key, so that
// nothing which is there can be lost.
func mapPatch(path string, have, add map[string]string) []jsonpatch.Operation {
	if len(add) == 0 {
		return nil
	}
	if have == nil {
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", path, add)}
	}
	operations := make([]jsonpatch.Operation, 0, len(add))
	for _, key := range slices.Sorted(maps.Keys(add)) {
		operations = append(operations, jsonpatch.NewOperation("add", path+"/"+escapePointer(key), add[key]))
	}
	return operations
}

// escapePointer escapes a key for use in a JSON pointer (RFC 6901, section 3).
func escapePointer(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
