package meshwarden

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// forcePeriod is how often it is tried whether the webhooks are in force.
const forcePeriod = 20 * time.Millisecond

// WaitInForce waits until the API server asks Meshwarden about Namespaces and, if there are any, VirtualServices. It takes
// up a registration, and a CA in it, within a second or so, each for itself. With --enforcement=audit, it would wait for
// ever: nobody sees from outside that a VirtualService was judged.
func (i *Installation) WaitInForce(ctx context.Context) error {
	last := errors.New("not tried yet")
	err := wait.PollUntilContextCancel(ctx, forcePeriod, true, func(ctx context.Context) (bool, error) {
		last = i.inForce(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the webhooks to be in force: %w (%w)", err, last)
	}
	return nil
}

func (i *Installation) inForce(ctx context.Context) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-"}}
	if err := i.client.Create(ctx, namespace, client.DryRunAll); err != nil {
		return err
	}
	if namespace.Labels["istio-injection"] != "enabled" {
		return fmt.Errorf("a new namespace has labels %v", namespace.Labels)
	}
	stray := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
		"metadata": map[string]any{"namespace": metav1.NamespaceDefault, "name": "probe"},
		// An istiod, if there is one, must not find fault with it.
		"spec": map[string]any{
			"hosts": []any{"probe.example.com"}, "gateways": []any{"probe"},
			"http": []any{map[string]any{"route": []any{map[string]any{"destination": map[string]any{"host": "probe"}}}}},
		},
	}}
	i.warnings.take()
	err := i.client.Create(ctx, stray, client.DryRunAll)
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if warnings := i.warnings.take(); !strings.Contains(strings.Join(warnings, "\n"), "MW101") {
		return fmt.Errorf("of a VirtualService without its Gateway, the warnings are %q", warnings)
	}
	return nil
}

// warningRecorder keeps the API server's warnings.
type warningRecorder struct {
	mu    sync.Mutex
	texts []string
}

var _ rest.WarningHandlerWithContext = (*warningRecorder)(nil)

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (r *warningRecorder) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, text)
}

// take returns the warnings since it was last called.
func (r *warningRecorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	texts := r.texts
	r.texts = nil
	return texts
}
