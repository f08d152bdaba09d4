package admission

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// AllowAnnotation names, on an object, the rules whose denial its owner accepts: "MW207", or several with commas between
// them. It has effect for the rules that the platform lists as overridable.
const AllowAnnotation = "meshwarden.io/allow"

// change is what a request wants to do to an object, decoded.
type change struct {
	ref    policy.Ref
	dryRun bool
	// after is the object as it is to be, nil when it is deleted; before is the object as it was, nil when it is created.
	after, before *version
}

// version is one state of an object.
type version struct {
	istio.Object
	// parsed is the object as the rules see it, nil when fault says why it cannot be parsed.
	parsed policy.Resource
	fault  error
}

// decode reads the objects of a request on a kind of the mesh. An error means that the request itself is unusable.
func decode(req admission.Request, t istio.Translator) (change, error) {
	c := change{dryRun: req.DryRun != nil && *req.DryRun}
	var err error
	if req.Operation != admissionv1.Create {
		if c.before, err = decodeVersion(req, req.OldObject.Raw, t); err != nil {
			return c, fmt.Errorf("cannot read oldObject of the request: %w", err)
		}
	}
	if req.Operation != admissionv1.Delete {
		if c.after, err = decodeVersion(req, req.Object.Raw, t); err != nil {
			return c, fmt.Errorf("cannot read object of the request: %w", err)
		}
	}
	c.ref = policy.Ref{Kind: policy.Kind(req.Kind.Kind), Key: policy.Key{Namespace: req.Namespace, Name: c.current().GetName()}}
	return c, nil
}

func decodeVersion(req admission.Request, raw []byte, t istio.Translator) (*version, error) {
	o, ok := istio.NewObject(policy.Kind(req.Kind.Kind))
	if !ok {
		return nil, fmt.Errorf("kind %q is not one of the mesh", req.Kind.Kind)
	}
	if len(raw) == 0 {
		return nil, errors.New("it is missing")
	}
	if err := utiljson.Unmarshal(raw, o); err != nil {
		return nil, err
	}
	o.SetNamespace(req.Namespace)
	v := &version{Object: o}
	v.parsed, v.fault = t.Translate(o)
	return v, nil
}

// current is the object as it is to be, or the one to be deleted.
func (c change) current() *version {
	if c.after != nil {
		return c.after
	}
	return c.before
}

// object is what the rules judge.
func (c change) object() policy.Object {
	var o policy.Object
	if c.after != nil {
		o = objectOf(c.after.parsed)
	}
	if c.before != nil {
		if g, ok := c.before.parsed.(*policy.Gateway); ok {
			o.Replaced = g
		}
	}
	return o
}

// previous is the object as it was, as if it were submitted now: what it does to others counts as well. It is the zero
// Object when there was none that can be judged.
func (c change) previous() policy.Object {
	if c.before == nil {
		return policy.Object{}
	}
	return objectOf(c.before.parsed)
}

func objectOf(r policy.Resource) policy.Object {
	switch r := r.(type) {
	case *policy.Gateway:
		return policy.Object{Gateway: r}
	case *policy.VirtualService:
		return policy.Object{VirtualService: r}
	}
	return policy.Object{}
}

// allowed returns the rule IDs of the object's AllowAnnotation.
func (c change) allowed() []string {
	var ids []string
	for id := range strings.SplitSeq(c.current().GetAnnotations()[AllowAnnotation], ",") {
		if id = strings.ToUpper(strings.TrimSpace(id)); id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
