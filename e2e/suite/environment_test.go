// Package suite tests Meshwarden end to end: its real program, against a real etcd and kube-apiserver.
package suite

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

// patience is how long a test waits for what must come. It says nothing about how fast it should.
const patience = 3 * time.Minute

// environment is a control plane with Istio's CRDs and Meshwarden, for one test.
type environment struct {
	*meshwarden.Installation
	cp       *controlplane.ControlPlane
	client   client.Client
	replicas []*meshwarden.Replica
	log      *logBuffer
}

// setup says what an environment has.
type setup struct {
	replicas int
	// args are further arguments of Meshwarden.
	args []string
	// components are folders in manifests/components to install as well.
	components []string
	// withoutRaceDetector runs the program as its users do. A test of races between requests needs it at its real speed.
	withoutRaceDetector bool
	// withoutCRDs leaves out Istio's CRDs.
	withoutCRDs bool
	// roles of the control plane; etcd and the API server alone if empty.
	roles []controlplane.Role
	// apiServerArgs are further arguments of the API server.
	apiServerArgs []string
	// mayBeRefused is set where the API server has reason to refuse Meshwarden something.
	mayBeRefused bool
	// before runs before Meshwarden is installed.
	before func(*testing.T, *environment)
}

// start returns an environment with Meshwarden as its manifests install it, whose webhooks are in force. Everything is stopped
// at the end of the test, and the log is shown if it failed.
func start(t *testing.T, s setup) *environment {
	t.Helper()
	e := startControlPlane(t, s.roles, s.apiServerArgs...)
	if !s.withoutCRDs {
		e.applyCRDs(t)
	}
	if s.before != nil {
		s.before(t, e)
	}
	t.Cleanup(func() {
		if lines := e.log.find("forbidden: User"); len(lines) > 0 && !s.mayBeRefused {
			t.Errorf("the API server refused Meshwarden what the manifests should grant: %s", lines[0])
		}
	})
	program := binary.WebhookRace
	if s.withoutRaceDetector {
		program = binary.Webhook
	}
	webhook, err := binary.Build(t.Context(), program, nil)
	noError(t, "build Meshwarden", err)
	e.Installation, err = meshwarden.Install(t.Context(), e.cp, meshwarden.Options{
		Binary: webhook, Dir: t.TempDir(), Log: e.log, Components: s.components,
		Args: append([]string{"--drain-delay=2s", "--log-level=debug"}, s.args...),
	})
	noError(t, "install Meshwarden", err)
	t.Cleanup(func() { noError(t, "stop Meshwarden", e.Stop(background(t))) })
	for range max(1, s.replicas) {
		r, err := e.Start(t.Context(), meshwarden.ReplicaOptions{})
		noError(t, "start a replica", err)
		e.replicas = append(e.replicas, r)
	}
	for _, r := range e.replicas {
		waitReady(t, r)
	}
	e.waitInForce(t)
	return e
}

func startControlPlane(t *testing.T, roles []controlplane.Role, apiServerArgs ...string) *environment {
	t.Helper()
	if len(roles) == 0 {
		roles = []controlplane.Role{controlplane.Etcd, controlplane.APIServer}
	}
	return startControlPlaneWith(t, controlplane.Options{Roles: roles, APIServerArgs: apiServerArgs})
}

// startControlPlaneWith starts a control plane, with the program that the options lack.
func startControlPlaneWith(t *testing.T, o controlplane.Options) *environment {
	t.Helper()
	var err error
	o.Binary, err = binary.Build(t.Context(), binary.ControlPlane, nil)
	noError(t, "build the control plane", err)
	e := &environment{log: &logBuffer{}}
	e.cp, err = controlplane.Start(t.Context(), o)
	noError(t, "start the control plane", err)
	t.Cleanup(func() { noError(t, "stop the control plane", e.cp.Stop(background(t))) })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Meshwarden's log, its end:\n%s", e.log.tail(200))
		}
	})
	e.client, err = client.New(e.cp.Config(), client.Options{})
	noError(t, "make a client", err)
	return e
}

func (e *environment) applyCRDs(t *testing.T) {
	t.Helper()
	crds, err := controlplane.IstioCRDs(t.Context())
	noError(t, "find Istio's CRDs", err)
	noError(t, "apply Istio's CRDs", e.cp.ApplyCRDs(t.Context(), crds))
}

func (e *environment) startReplica(t *testing.T, args ...string) *meshwarden.Replica {
	t.Helper()
	r, err := e.Start(t.Context(), meshwarden.ReplicaOptions{Args: args})
	noError(t, "start a replica", err)
	waitReady(t, r)
	return r
}

func waitReady(t *testing.T, r *meshwarden.Replica) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	noError(t, "wait for a replica", r.WaitReady(ctx))
}

// waitInForce waits until the API server asks Meshwarden.
func (e *environment) waitInForce(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	noError(t, "wait for the webhooks", e.WaitInForce(ctx))
}

// eventually calls the condition until it returns nil, and fails the test with its last error when it never does.
func (e *environment) eventually(t *testing.T, what string, condition func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v: %v", what, err, last)
	}
}

// apply applies every document of the text, server-side, and returns the first error.
func (e *environment) apply(ctx context.Context, text string, options ...client.ApplyOption) error {
	for _, o := range documents(text) {
		all := append([]client.ApplyOption{client.FieldOwner("test"), client.ForceOwnership}, options...)
		if err := e.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), all...); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// mustApply applies every document of the text.
func (e *environment) mustApply(t *testing.T, text string) {
	t.Helper()
	noError(t, "apply", e.apply(t.Context(), text))
}

// documents parses YAML that the tests themselves wrote.
func documents(text string) []*unstructured.Unstructured {
	var objects []*unstructured.Unstructured
	for document := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			panic(fmt.Sprintf("a test's YAML is broken: %v\n%s", err, document))
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
	return objects
}

// createNamespace creates a namespace.
func (e *environment) createNamespace(ctx context.Context, name string) error {
	return e.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

func (e *environment) namespace(t *testing.T, name string) {
	t.Helper()
	noError(t, "create a namespace", e.createNamespace(t.Context(), name))
}

// policy returns Meshwarden's NetworkPolicy of the namespace.
func (e *environment) policy(ctx context.Context, namespace string) (*networkingv1.NetworkPolicy, error) {
	p := &networkingv1.NetworkPolicy{}
	return p, e.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "allow-istio-communication"}, p)
}

// event waits for an Event of the reason about an object whose note holds every part, and returns the note.
func (e *environment) event(t *testing.T, reason, kind, namespace, name string, parts ...string) string {
	t.Helper()
	note := ""
	e.eventually(t, fmt.Sprintf("Event %s on %s %s", reason, kind, name), func(ctx context.Context) error {
		list := &eventsv1.EventList{}
		if err := e.client.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return err
		}
		var seen []string
		for _, event := range list.Items {
			if event.Reason == reason && event.Regarding.Kind == kind && event.Regarding.Name == name && holds(event.Note, parts) {
				note = event.Note
				return nil
			}
			seen = append(seen, fmt.Sprintf("%s %s %s: %s", event.Reason, event.Regarding.Kind, event.Regarding.Name, event.Note))
		}
		return fmt.Errorf("none with %q among these:\n%s", parts, strings.Join(seen, "\n"))
	})
	return note
}

// metric waits until some replica's metrics hold the line.
func (e *environment) metric(t *testing.T, line string) {
	t.Helper()
	name, _, _ := strings.Cut(line, "{")
	e.eventually(t, "metric "+line, func(ctx context.Context) error {
		var seen []string
		for i, r := range e.replicas {
			text, err := r.Metrics(ctx)
			if err != nil {
				seen = append(seen, fmt.Sprintf("replica %d: %v\n", i, err))
				continue
			}
			if strings.Contains("\n"+text, "\n"+line) {
				return nil
			}
			for other := range strings.Lines(text) {
				if strings.HasPrefix(other, name) {
					seen = append(seen, fmt.Sprintf("replica %d: %s", i, other))
				}
			}
		}
		return fmt.Errorf("no replica has it, but these:\n%s", strings.Join(seen, ""))
	})
}

// waitKnown waits until every replica knows of as many Gateways and VirtualServices as are stored. Any of them is asked next, and
// what it does not know of, it neither warns of nor denies.
func (e *environment) waitKnown(t *testing.T) {
	t.Helper()
	e.eventually(t, "every replica knows what is stored", func(ctx context.Context) error {
		for _, kind := range []string{"Gateway", "VirtualService"} {
			list := &unstructured.UnstructuredList{}
			list.SetAPIVersion("networking.istio.io/v1")
			list.SetKind(kind + "List")
			if err := e.client.List(ctx, list); err != nil {
				return err
			}
			line := fmt.Sprintf("\nmeshwarden_model_objects{kind=%q} %d\n", kind, len(list.Items))
			for i, r := range e.replicas {
				text, err := r.Metrics(ctx)
				if err != nil {
					return fmt.Errorf("replica %d: %w", i, err)
				}
				if !strings.Contains(text, line) {
					return fmt.Errorf("replica %d does not know of %d objects of kind %s", i, len(list.Items), kind)
				}
			}
		}
		return nil
	})
}

// logged waits until so many lines of the log hold every part. A line comes a moment after the answer that it is about.
func (e *environment) logged(t *testing.T, n int, parts ...string) {
	t.Helper()
	e.eventually(t, fmt.Sprintf("%d lines of the log with %q", n, parts), func(context.Context) error {
		if lines := e.log.find(parts...); len(lines) != n {
			return fmt.Errorf("there are %d:\n%s", len(lines), strings.Join(lines, "\n"))
		}
		return nil
	})
}

// update changes an object as the field manager, and reads it anew when others have written it in between.
func (e *environment) update(t *testing.T, u *unstructured.Unstructured, manager string, change func(*unstructured.Unstructured)) {
	t.Helper()
	e.eventually(t, "change "+u.GetKind()+" "+u.GetName(), func(ctx context.Context) error {
		now := u.DeepCopy()
		if err := e.client.Get(ctx, client.ObjectKeyFromObject(u), now); err != nil {
			return err
		}
		change(now)
		err := e.client.Update(ctx, now, client.FieldOwner(manager))
		if !apierrors.IsConflict(err) {
			noError(t, "change "+u.GetKind()+" "+u.GetName(), err)
		}
		return err
	})
}

func noError(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// wantError fails the test unless err holds every part.
func wantError(t *testing.T, what string, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: accepted, want a rejection with %q", what, parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: error %q does not hold %q", what, err, part)
		}
	}
}

// background is a context for cleaning up, when the test's own has ended.
func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	t.Cleanup(cancel)
	return ctx
}

// logBuffer keeps what the replicas write. It is safe for concurrent use.
type logBuffer struct {
	mu    sync.Mutex
	lines []string
}

var _ io.Writer = (*logBuffer)(nil)

// Write implements io.Writer.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

func (b *logBuffer) tail(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines[max(0, len(b.lines)-n):], "\n")
}

// find returns the lines that hold every part.
func (b *logBuffer) find(parts ...string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []string
	for _, line := range b.lines {
		if holds(line, parts) {
			found = append(found, line)
		}
	}
	return found
}

// holds says whether every part is in the text.
func holds(text string, parts []string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
}

// repository returns the path of a file of the repository.
func repository(parts ...string) string {
	return filepath.Join(append([]string{"..", ".."}, parts...)...)
}
