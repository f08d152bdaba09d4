package admission

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// What becomes of a request, for the metrics.
const (
	outcomeAllowed = "allowed"
	outcomeWarned  = "warned"
	outcomeDenied  = "denied"
	outcomeError   = "error"
	outcomeSkipped = "skipped"
)

// logDecision writes the one line that says what was decided and on whose request.
func (v *Validator) logDecision(req admission.Request, c change, verdict verdict) {
	message, level := "request denied", 0
	if !policy.Denies(verdict.findings) {
		message, level = "request admitted with findings", 1
	}
	if v.Enforcement == policy.Audit {
		level = 0
	}
	log := v.Log.V(level)
	if !log.Enabled() {
		return
	}
	var rules, texts []string
	for _, f := range verdict.findings {
		if !slices.Contains(rules, f.Rule) {
			rules = append(rules, f.Rule)
		}
		if len(texts) < causesAtMost {
			texts = append(texts, fmt.Sprintf("%s %s: %s", f.Action, f.Path, f.Text()))
		}
	}
	log.Info(message, "uid", req.UID, "user", req.UserInfo.Username, "operation", req.Operation, "object", c.ref.String(),
		"dryRun", c.dryRun, "rules", rules, "findings", texts, "findingCount", len(verdict.findings))
}

// reportOverrides makes it known on the object that its annotation overrode a rule. A dry run leaves no trace.
func (v *Validator) reportOverrides(c change, overridden []policy.Finding) {
	if c.dryRun {
		return
	}
	for i, f := range overridden {
		v.Metrics.overrides.WithLabelValues(f.Rule).Inc()
		if i >= causesAtMost {
			continue
		}
		o := c.current()
		v.Recorder.Eventf(&corev1.ObjectReference{
			APIVersion: istio.GroupVersion().String(), Kind: string(c.ref.Kind), Namespace: c.ref.Namespace, Name: c.ref.Name,
			UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
		}, nil, corev1.EventTypeWarning, "RuleOverridden", "Admit", "%s", f.Text())
	}
}

// Metrics are the counts and times of the answers.
type Metrics struct {
	requests  *prometheus.CounterVec
	decisions *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	overrides *prometheus.CounterVec
	rereads   prometheus.Counter
}

// NewMetrics registers the metrics of the package.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "meshwarden_admission_requests_total",
			Help: "Admission requests by kind, operation and outcome: allowed, warned, denied, error or skipped.",
		}, []string{"kind", "operation", "outcome"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "meshwarden_decisions_total",
			Help: "Findings of admission by rule and the action taken.",
		}, []string{"rule", "action"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "meshwarden_admission_duration_seconds",
			Help:    "Seconds from a decoded admission request to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2, 18),
		}, []string{"kind"}),
		overrides: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "meshwarden_overrides_total",
			Help: "Denials that an object's meshwarden.io/allow annotation turned into warnings, by rule.",
		}, []string{"rule"}),
		rereads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "meshwarden_live_reads_total",
			Help: "Objects read again from the API server before a denial.",
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.decisions, m.duration, m.overrides, m.rereads} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register the metrics of admission: %w", err)
		}
	}
	return m, nil
}

// AnsweredNamespace counts an answer about a Namespace.
func (m *Metrics) AnsweredNamespace(outcome string, took time.Duration) {
	m.requests.WithLabelValues("Namespace", "CREATE", outcome).Inc()
	m.duration.WithLabelValues("Namespace").Observe(took.Seconds())
}

func (m *Metrics) answered(req admission.Request, outcome string, took time.Duration) {
	// Whoever reaches the port can call kind and operation anything; only known ones become a series.
	kind, operation := req.Kind.Kind, string(req.Operation)
	if !isJudged(kind) {
		kind = "other"
	}
	if !slices.Contains(operations(), req.Operation) {
		operation = "other"
	}
	m.requests.WithLabelValues(kind, operation, outcome).Inc()
	m.duration.WithLabelValues(kind).Observe(took.Seconds())
}

func (m *Metrics) judged(v verdict) {
	for _, f := range v.findings {
		m.decisions.WithLabelValues(f.Rule, string(f.Action)).Inc()
	}
}

func (m *Metrics) reread(n int) {
	m.rereads.Add(float64(n))
}
