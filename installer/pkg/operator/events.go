package operator

import (
	"context"
	"fmt"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
)

// The reasons of the Events on an IstioOperator.
const (
	reasonInvalid  = "InvalidSpec"
	reasonDoubtful = "DoubtfulSpec"
	reasonFailed   = "ComponentFailed"
	reasonHealthy  = "Healthy"
	reasonUpgraded = "Upgraded"
	reasonRepaired = "DriftRepaired"
	reasonPruned   = "Pruned"
	reasonCRDKept  = "CRDKept"
)

// news is what users are told in an Event.
type news struct {
	reason, note string
}

// kind is Warning for what somebody should look at.
func (n news) kind() string {
	switch n.reason {
	case reasonInvalid, reasonDoubtful, reasonFailed, reasonCRDKept:
		return corev1.EventTypeWarning
	default:
		return corev1.EventTypeNormal
	}
}

// news returns what is new since the present status was written.
func (o outcome) news(present map[string]any) []news {
	before, _, _ := unstructured.NestedString(present, "status")
	message, _, _ := unstructured.NestedString(present, "message")
	version, _, _ := unstructured.NestedString(present, "version")
	if o.invalid != "" {
		if message == o.invalid {
			return nil
		}
		return []news{{reasonInvalid, o.invalid + "\nWhat is installed stays as it is."}}
	}
	var all []news
	for _, name := range o.names() {
		c := o.components[name]
		if told, _, _ := unstructured.NestedString(present, "componentStatus", name, "error"); c.phase == failed && c.message != told {
			all = append(all, news{reasonFailed, name + ": " + c.message})
		}
	}
	if o.phase() != healthy || o.removing != "" {
		return all
	}
	if version != "" && o.version != "" && version != o.version {
		all = append(all, news{reasonUpgraded, fmt.Sprintf("From %s to %s.", version, o.version)})
	}
	if before != string(healthy) {
		all = append(all, news{reasonHealthy, "Every component is as described and available."})
	}
	return all
}

// list names objects in an Event's note, which has room for 1,024 characters.
func list(objects []*unstructured.Unstructured) string {
	const most = 10
	var names []string
	for i, o := range objects {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(objects)-most))
			break
		}
		names = append(names, title(o))
	}
	return strings.Join(names, ", ")
}

// tell writes an Event, each as one of its own: client-go's broadcaster counts what recurs in memory and writes the count minutes later. One that cannot
// be written is only logged: nothing depends on it.
func (r *Reconciler) tell(ctx context.Context, about *unstructured.Unstructured, n news) {
	const longest = 1024
	if runes := []rune(n.note); len(runes) > longest {
		n.note = string(runes[:longest-1]) + "…"
	}
	log := ctrl.LoggerFrom(ctx)
	log.Info(n.note, "event", n.reason)
	instance, err := os.Hostname()
	if err != nil {
		instance = FieldManager
	}
	err = r.client.Create(ctx, &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{GenerateName: about.GetName() + "-", Namespace: about.GetNamespace()},
		EventTime:           metav1.NewMicroTime(r.options.Clock.Now()),
		ReportingController: FieldManager, ReportingInstance: instance,
		Regarding: corev1.ObjectReference{
			APIVersion: about.GetAPIVersion(), Kind: about.GetKind(), Namespace: about.GetNamespace(), Name: about.GetName(),
			UID: about.GetUID(), ResourceVersion: about.GetResourceVersion(),
		},
		Type: n.kind(), Reason: n.reason, Action: "Reconcile", Note: n.note,
	})
	if err != nil && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		log.Error(err, "cannot write an Event", "reason", n.reason)
	}
}
