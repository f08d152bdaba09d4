package policy

import (
	"fmt"
	"maps"
	"time"
)

// The labels with which a namespace chooses its data plane. Istio defines them
// (istio.io/api/label: istio-injection, IoIstioRev, IoIstioDataplaneMode).
const (
	// InjectionLabel takes "enabled" or "disabled" and goes before RevisionLabel.
	InjectionLabel = "istio-injection"
	// RevisionLabel names a revision or a revision tag of the control plane.
	RevisionLabel = "istio.io/rev"
	// DataplaneModeLabel takes "ambient" or "none".
	DataplaneModeLabel = "istio.io/dataplane-mode"
)

// Meshwarden's own keys. They are annotations; OnboardingKey counts as a label
// too, for a namespace's owner who wants out.
const (
	// OnboardingKey says whether a namespace is under Meshwarden's care:
	// ValueEnabled is the mark that Meshwarden writes, ValueDisabled the way out.
	OnboardingKey = "meshwarden.io/onboarding"
	// NetworkPolicyKey with ValueDisabled declines the NetworkPolicy alone.
	NetworkPolicyKey = "meshwarden.io/network-policy"

	ValueEnabled  = "enabled"
	ValueDisabled = "disabled"
)

// ambientMode is the value of DataplaneModeLabel that puts a namespace into the
// ambient mesh.
const ambientMode = "ambient"

// Namespace is what the onboarding decisions need to know of a namespace.
type Namespace struct {
	// Name is empty when the API server has still to generate it.
	Name        string
	Labels      map[string]string
	Annotations map[string]string
	// Created is the creationTimestamp, which has whole seconds.
	Created time.Time
	// Terminating is true once the namespace has a deletionTimestamp.
	Terminating bool
}

// Chosen reports whether the labels already hold a choice of data plane, with
// whatever value: such a choice is the user's and stays as it is.
func Chosen(labels map[string]string) bool {
	for _, key := range []string{InjectionLabel, RevisionLabel, DataplaneModeLabel} {
		if _, ok := labels[key]; ok {
			return true
		}
	}
	return false
}

// Meshed reports whether a namespace with these labels is part of the mesh, by
// the selectors of Istio's own webhooks (chart istio-discovery, templates
// mutatingwebhook.yaml and revision-tags-mwc.yaml) and of its CNI plugin:
//
//   - ambient takes pods whatever the two injection labels say;
//   - the default webhook injects where istio-injection is exactly "enabled";
//   - the webhooks of revisions and tags require that istio-injection is absent,
//     so any other value of it, the empty one too, rules istio.io/rev out.
//
// What Istio is installed with does not count: the option
// enableNamespacesByDefault, which injects where no label says anything, and
// whether the revision exists.
func Meshed(labels map[string]string) bool {
	if labels[DataplaneModeLabel] == ambientMode {
		return true
	}
	if injection, ok := labels[InjectionLabel]; ok {
		return injection == ValueEnabled
	}
	return labels[RevisionLabel] != ""
}

// Marked reports whether the namespace is under Meshwarden's care: it carries
// the annotation that Meshwarden writes when it onboards a namespace.
func (n Namespace) Marked() bool {
	return n.Annotations[OnboardingKey] == ValueEnabled
}

// OptedOut reports whether the owner wants Meshwarden to leave the namespace
// alone: OnboardingKey, as annotation or as label, is ValueDisabled. Every other
// value than ValueEnabled counts as well, because a misspelt wish is far more
// likely to mean "no", and writing nothing is the mistake that is undone easily.
func (n Namespace) OptedOut() bool {
	annotation, label := n.onboardingValues()
	return annotation != ValueEnabled || label != ValueEnabled
}

// Misspelt returns the value of OnboardingKey that is neither ValueEnabled nor
// ValueDisabled, and whether there is one.
func (n Namespace) Misspelt() (string, bool) {
	annotation, label := n.onboardingValues()
	for _, value := range []string{annotation, label} {
		if value != ValueEnabled && value != ValueDisabled {
			return value, true
		}
	}
	return "", false
}

// onboardingValues returns OnboardingKey's value among the annotations and among
// the labels; an absent key reads as ValueEnabled, for it forbids nothing.
func (n Namespace) onboardingValues() (annotation, label string) {
	annotation, label = ValueEnabled, ValueEnabled
	if value, ok := n.Annotations[OnboardingKey]; ok {
		annotation = value
	}
	if value, ok := n.Labels[OnboardingKey]; ok {
		label = value
	}
	return annotation, label
}

// WantsNetworkPolicy reports whether the default NetworkPolicy belongs into the
// namespace: it is under care and meshed, and nothing speaks against it.
func (n Namespace) WantsNetworkPolicy(excluded Exclusions) bool {
	return n.Marked() && Meshed(n.Labels) &&
		!n.Terminating && !n.OptedOut() && !excluded.Has(n.Name) &&
		!n.declinesNetworkPolicy()
}

// declinesNetworkPolicy reports whether the owner wants no policy of Meshwarden's:
// NetworkPolicyKey, as annotation or as label, is anything but ValueEnabled. A
// misspelt "no" counts, because a policy that allows everything is the worse mistake.
func (n Namespace) declinesNetworkPolicy() bool {
	for _, from := range []map[string]string{n.Annotations, n.Labels} {
		if value, ok := from[NetworkPolicyKey]; ok && value != ValueEnabled {
			return true
		}
	}
	return false
}

// Exclusions are the namespaces that Meshwarden leaves alone, whatever they are
// labelled with. The zero value holds those of Kubernetes itself: kube-system,
// kube-public and kube-node-lease.
type Exclusions struct {
	names map[string]struct{}
}

// NewExclusions returns the exclusions of Kubernetes' own namespaces,
// Meshwarden's own one and the configured ones. Names match exactly. Empty names
// are dropped: a namespace whose name is generated has none yet at admission.
func NewExclusions(own string, configured ...string) Exclusions {
	names := make(map[string]struct{}, len(configured)+1)
	for _, name := range append([]string{own}, configured...) {
		if name != "" {
			names[name] = struct{}{}
		}
	}
	return Exclusions{names: names}
}

// DefaultExclusions returns the namespaces that Meshwarden leaves alone, besides Kubernetes' own and its own, unless it is
// configured otherwise.
func DefaultExclusions() []string { return []string{"istio-system", "istio-operator", "cert-manager"} }

// Has reports whether the namespace of that name is to be left alone.
func (e Exclusions) Has(name string) bool {
	switch name {
	case "kube-system", "kube-public", "kube-node-lease":
		return true
	}
	_, ok := e.names[name]
	return ok
}

// Additions are labels and annotations to add to a namespace; none of their keys
// is there yet. The zero value adds nothing.
type Additions struct {
	Labels      map[string]string
	Annotations map[string]string
}

// Empty reports whether there is nothing to add.
func (a Additions) Empty() bool { return len(a.Labels) == 0 && len(a.Annotations) == 0 }

// AdmitNamespace decides what a namespace gets while it is created: the mark,
// unless it is there, and the injection label, unless the user made a choice.
// A mark that came with the object is the wish to be onboarded, so the label is
// still added; only after the creation the mark means "was labelled once".
func AdmitNamespace(n Namespace, excluded Exclusions) Additions {
	if n.Terminating || n.OptedOut() || excluded.Has(n.Name) {
		return Additions{}
	}
	return onboard(n)
}

// onboard returns the mark and the label, each only where it belongs.
func onboard(n Namespace) Additions {
	var add Additions
	if !n.Marked() {
		add.Annotations = map[string]string{OnboardingKey: ValueEnabled}
	}
	if !Chosen(n.Labels) {
		add.Labels = map[string]string{InjectionLabel: ValueEnabled}
	}
	return add
}

// Backfill says which of the namespaces that admission did not see get the label
// and the mark afterwards.
type Backfill string

const (
	// BackfillMissed takes those created since Meshwarden was installed, which
	// the webhook missed because it was down.
	BackfillMissed Backfill = "missed"
	// BackfillAll takes those that are older than the installation, too.
	BackfillAll Backfill = "all"
	// BackfillNone takes none.
	BackfillNone Backfill = "none"
)

// ParseBackfill returns the mode of that name, or an error that lists the modes.
func ParseBackfill(text string) (Backfill, error) {
	switch mode := Backfill(text); mode {
	case BackfillMissed, BackfillAll, BackfillNone:
		return mode, nil
	}
	return "", fmt.Errorf("backfill mode %q is unknown: use %s, %s or %s",
		text, BackfillMissed, BackfillAll, BackfillNone)
}

// Considers reports whether the namespace may be backfilled at all, which is
// known without the time of the installation. A marked namespace is never
// considered again, so a label that its owner removed stays removed.
func (b Backfill) Considers(n Namespace, excluded Exclusions) bool {
	return b != BackfillNone &&
		!n.Marked() && !n.OptedOut() && !n.Terminating && !excluded.Has(n.Name)
}

// Takes reports whether the namespace is to be backfilled, given when Meshwarden
// was installed.
func (b Backfill) Takes(n Namespace, excluded Exclusions, installed time.Time) bool {
	return b.Considers(n, excluded) && (b == BackfillAll || !n.OlderThan(installed))
}

// OlderThan reports whether the namespace was created before the installation.
// Both times are creationTimestamps of whole seconds; within the same second the
// namespace counts as younger, because a namespace that is never onboarded is
// worse than one label too many.
func (n Namespace) OlderThan(installed time.Time) bool {
	return n.Created.Before(installed.Truncate(time.Second))
}

// BackfillAdditions decides what a namespace that the backfill takes gets: the
// same as at admission. With keepPolicies, for an older namespace that has
// NetworkPolicies already, it declines Meshwarden's own as well: an allow-all
// policy would cancel those.
func BackfillAdditions(n Namespace, keepPolicies bool) Additions {
	add := onboard(n)
	if _, decided := n.Annotations[NetworkPolicyKey]; keepPolicies && !decided {
		annotations := map[string]string{NetworkPolicyKey: ValueDisabled}
		maps.Copy(annotations, add.Annotations)
		add.Annotations = annotations
	}
	return add
}
