package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// application is the namespace of the walk.
const application = "shop"

//go:embed objects/*.yaml
var objects embed.FS

// walker takes the steps and shows each with the API server's answer.
type walker struct {
	client client.Client
	out    io.Writer
	steps  int
}

// walk takes all steps. It fails when an answer is not the one that the step is there to show.
func (w *walker) walk(ctx context.Context) error {
	if err := w.onboard(ctx); err != nil {
		return err
	}
	for _, s := range []struct {
		title, file string
		rejected    bool
	}{
		{title: "The Gateway of the platform's documentation, as written there (v1alpha3)", file: "gateway.yaml"},
		{title: "Its VirtualService", file: "virtualservice.yaml"},
		{title: "A VirtualService with a host that the Gateway does not carry", file: "unserved-host.yaml", rejected: true},
		{title: "A VirtualService with a gateway that does not exist", file: "unknown-gateway.yaml", rejected: true},
		{title: "The Gateway again, without the host that the VirtualService uses", file: "dropped-host.yaml", rejected: true},
	} {
		if err := w.apply(ctx, s.title, s.file, s.rejected); err != nil {
			return err
		}
	}
	return nil
}

// onboard creates the application's namespace and waits for what Meshwarden adds to it.
func (w *walker) onboard(ctx context.Context) error {
	w.title("A new namespace joins the mesh by itself")
	w.command("kubectl create namespace " + application)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: application}}
	start := time.Now()
	if err := w.client.Create(ctx, namespace); err != nil {
		return fmt.Errorf("create the namespace: %w", err)
	}
	label, ok := namespace.Labels["istio-injection"]
	if !ok {
		return errors.New("the namespace came back without its injection label")
	}
	w.answer("namespace/" + application + " created")
	w.answer("label:         istio-injection=" + label)
	policy := &networkingv1.NetworkPolicy{}
	err := wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := w.client.Get(ctx, client.ObjectKey{Namespace: application, Name: "allow-istio-communication"}, policy)
		return err == nil, client.IgnoreNotFound(err)
	})
	if err != nil {
		return fmt.Errorf("wait for the network policy: %w", err)
	}
	spec, err := json.Marshal(policy.Spec)
	if err != nil {
		return fmt.Errorf("show the network policy: %w", err)
	}
	w.answer(fmt.Sprintf("networkpolicy: %s, %d ms after the request", policy.Name, time.Since(start).Milliseconds()))
	w.answer("               " + string(spec))
	return nil
}

// apply sends the object of a file and shows the answer, which must be the expected kind of one.
func (w *walker) apply(ctx context.Context, title, file string, rejected bool) error {
	w.title(title)
	content, err := objects.ReadFile("objects/" + file)
	if err != nil {
		return fmt.Errorf("read a step's object: %w", err)
	}
	w.command("kubectl apply --server-side -n " + application + " -f - <<EOF")
	for line := range strings.Lines(string(content)) {
		fmt.Fprintf(w.out, "     %s", line)
	}
	fmt.Fprintln(w.out, "     EOF")
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(content, &object.Object); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	object.SetNamespace(application)
	err = w.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("kubectl"), client.ForceOwnership)
	switch status := apierrors.APIStatus(nil); {
	case err == nil && !rejected:
		w.answer(fmt.Sprintf("%s/%s serverside-applied", strings.ToLower(object.GroupVersionKind().GroupKind().String()), object.GetName()))
		return nil
	case err == nil:
		return fmt.Errorf("%s was accepted and should not have been", file)
	case rejected && errors.As(err, &status) && status.Status().Reason == metav1.StatusReasonInvalid:
		w.rejection(status.Status())
		return nil
	}
	return fmt.Errorf("apply %s: %w", file, err)
}

// rejection prints the status as kubectl does.
func (w *walker) rejection(s metav1.Status) {
	w.answer(fmt.Sprintf("The %s %q is invalid:", s.Details.Kind, s.Details.Name))
	for _, cause := range s.Details.Causes {
		w.answer(fmt.Sprintf("* %s: %s", cause.Field, cause.Message))
	}
}

func (w *walker) title(text string) {
	w.steps++
	fmt.Fprintf(w.out, "\n%d. %s\n\n", w.steps, text)
}

func (w *walker) command(text string) {
	fmt.Fprintf(w.out, "   $ %s\n", text)
}

func (w *walker) answer(text string) {
	fmt.Fprintf(w.out, "   > %s\n", text)
}
