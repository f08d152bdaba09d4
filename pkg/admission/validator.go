package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Cluster is what the Validator must be able to ask about the cluster besides the model.
type Cluster interface {
	mesh.Reader
	// Translator resolves names as the mesh does now.
	Translator() istio.Translator
	// WaitReady waits until the model can be relied on for a request about an object of the kind.
	WaitReady(ctx context.Context, kind policy.Kind) error
	// Expect notes that a generation of an object was let pass.
	Expect(ref policy.Ref, generation int64)
	// Terminating says whether the namespace is being deleted, or gone.
	Terminating(ctx context.Context, namespace string) (bool, error)
}

// Options are what a Validator is made from. All are required.
type Options struct {
	Model   *mesh.Model
	Cluster Cluster
	// Rules judge the objects, with the platform's actions.
	Rules []policy.Rule
	// Enforcement is the strictest action there is: what a fault outside the rules may lead to.
	Enforcement policy.Action
	// Overridable are the IDs of the rules that AllowAnnotation may override.
	Overridable []string
	// Deadline is how long an answer may take, live reads included. It must be shorter than the webhook's own timeout.
	Deadline time.Duration
	Recorder events.EventRecorder
	Metrics  *Metrics
	Clock    clock.PassiveClock
	Log      logr.Logger
}

// Validator answers admission requests on Gateways and VirtualServices.
//
// It fails closed: a request that it cannot judge in time is refused with an error that says so, and the webhooks on
// creation and update are registered with failurePolicy Fail. The one on deletion is registered with Ignore and its
// findings are warnings, so nothing that is deleted waits for Meshwarden.
type Validator struct {
	Options
}

var _ admission.Handler = (*Validator)(nil)

// NewValidator returns the handler.
func NewValidator(o Options) *Validator {
	return &Validator{Options: o}
}

// Handle implements admission.Handler.
func (v *Validator) Handle(ctx context.Context, req admission.Request) admission.Response {
	start := v.Clock.Now()
	// The server's own context ends when the process is told to stop; the request must still be answered then.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.Deadline)
	defer cancel()
	response, outcome := v.handle(ctx, req)
	v.Metrics.answered(req, outcome, v.Clock.Since(start))
	return response
}

// handle returns the answer and, for the metrics, what became of the request.
func (v *Validator) handle(ctx context.Context, req admission.Request) (admission.Response, string) {
	if req.Kind.Kind == "" {
		// Any JSON comes here as an empty request: what it wants is unknown.
		return admission.Errored(http.StatusBadRequest, errors.New("the body holds no AdmissionReview with a request")), outcomeError
	}
	if !judged(req) {
		return admission.Allowed("").WithWarnings(policy.Printable(fmt.Sprintf(
			"meshwarden does not judge %s of %s %s; its webhook's rules need not name it", req.Operation, req.Kind.String(), req.SubResource))), outcomeSkipped
	}
	translator := v.Cluster.Translator()
	c, err := decode(req, translator)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err), outcomeError
	}
	if c.current().GetDeletionTimestamp() != nil || isProbe(c) {
		return admission.Allowed(""), outcomeSkipped
	}
	if c.current().fault != nil {
		return v.answerFault(ctx, req, c)
	}
	if err := v.Cluster.WaitReady(ctx, c.ref.Kind); err != nil {
		return unavailable(fmt.Errorf("meshwarden is not ready to judge %s: %w; try again", c.ref, err)), outcomeError
	}
	if now := v.Cluster.Translator(); now != translator {
		// The mesh's own settings came to be known while this waited.
		if c, err = decode(req, now); err != nil {
			return admission.Errored(http.StatusBadRequest, err), outcomeError
		}
	}
	verdict, err := v.judge(ctx, c)
	if err != nil {
		return unavailable(fmt.Errorf("meshwarden cannot judge %s: %w; try again", c.ref, err)), outcomeError
	}
	return v.answer(req, c, verdict)
}

// judged says whether the request is one for which there are rules: a write of an object of the mesh itself.
func judged(req admission.Request) bool {
	return isJudged(req.Kind.Kind) && req.Kind.Group == istio.GroupVersion().Group && req.SubResource == "" && slices.Contains(operations(), req.Operation)
}

func isJudged(kind string) bool {
	return kind == string(policy.KindGateway) || kind == string(policy.KindVirtualService)
}

func operations() []admissionv1.Operation {
	return []admissionv1.Operation{admissionv1.Create, admissionv1.Update, admissionv1.Delete}
}

// answerFault answers for an object whose spec cannot be parsed. Istio could not read it either and would ignore it. An
// object that was stored in such a state already may be edited, and deleted.
func (v *Validator) answerFault(ctx context.Context, req admission.Request, c change) (admission.Response, string) {
	f := policy.Unparsable(c.ref, c.current().fault, v.Enforcement)
	if c.before != nil && c.before.fault != nil {
		f.Action = f.Action.AtMost(policy.Warn)
	}
	if f.Action == policy.Deny {
		terminating, err := v.Cluster.Terminating(ctx, c.ref.Namespace)
		if err != nil {
			return unavailable(fmt.Errorf("meshwarden cannot judge %s: %w; try again", c.ref, err)), outcomeError
		}
		if terminating {
			return admission.Allowed(""), outcomeSkipped
		}
	}
	return v.answer(req, c, verdict{findings: []policy.Finding{f}})
}

// answer words the verdict, and tells logs, metrics and Events about it.
func (v *Validator) answer(req admission.Request, c change, verdict verdict) (admission.Response, string) {
	v.Metrics.judged(verdict)
	if len(verdict.findings) > 0 {
		v.logDecision(req, c, verdict)
	}
	if policy.Denies(verdict.findings) {
		return denied(c.ref, verdict.findings), outcomeDenied
	}
	v.reportOverrides(c, verdict.overridden)
	if !c.dryRun && c.after != nil && (c.before == nil || c.before.GetGeneration() != c.after.GetGeneration()) {
		v.Cluster.Expect(c.ref, c.after.GetGeneration())
	}
	if texts := warnings(verdict.findings); len(texts) > 0 {
		return admission.Allowed("").WithWarnings(texts...), outcomeWarned
	}
	return admission.Allowed(""), outcomeAllowed
}

// isProbe recognises the object with which istiod finds out whether its own validation webhook works: a dry run of an
// invalid Gateway that istiod wants to see rejected by itself. A rejection by anybody else makes it misread its readiness.
// Source: Istio's isDryRunOfInvalidConfigRejected (pkg/webhooks/validation/controller/controller.go).
func isProbe(c change) bool {
	_, marked := c.current().GetAnnotations()["internal.istio.io/webhook-always-reject"]
	return c.dryRun && marked && c.ref.Name == "invalid-gateway"
}
