package operator

import (
	"context"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
	// One spec is doubted once by one version, however often the operator starts.
	generation, _, _ := unstructured.NestedInt64(present, "observedGeneration")
	if by, _, _ := unstructured.NestedString(present, "operatorVersion"); o.generation != generation || o.operator != by {
		for _, warning := range o.warnings {
			all = append(all, news{reasonDoubtful, warning})
		}
	}
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

// shortened returns a text that an Event's note has room for: the API server refuses more than 1,024 bytes.
func shortened(note string) string {
	const longest, more = 1024, "…"
	if len(note) <= longest {
		return note
	}
	end := longest - len(more)
	for end > 0 && !utf8.RuneStart(note[end]) {
		end--
	}
	return note[:end] + more
}

// list names objects in an Event's note.
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
		Type: n.kind(), Reason: n.reason, Action: "Reconcile", Note: shortened(n.note),
	})
	// A namespace that is being deleted takes no Events, and may have lost the Role that allows them.
	if apierrors.IsForbidden(err) && r.terminating(ctx, about.GetNamespace()) {
		return
	}
	if err != nil {
		log.Error(err, "cannot write an Event", "reason", n.reason)
	}
}

// terminating says whether a namespace is being deleted.
func (r *Reconciler) terminating(ctx context.Context, name string) bool {
	namespace := &corev1.Namespace{}
	err := r.client.Get(ctx, client.ObjectKey{Name: name}, namespace)
	return apierrors.IsNotFound(err) || err == nil && namespace.DeletionTimestamp != nil
}
