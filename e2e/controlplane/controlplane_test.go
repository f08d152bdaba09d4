package controlplane_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

const (
	// pollInterval and pollTimeout are for conditions that come about by themselves.
	pollInterval = 50 * time.Millisecond
	pollTimeout  = 3 * time.Minute
	// stopTimeout is how long a control plane gets to end cleanly.
	stopTimeout = time.Minute
	// requestTimeout is for requests that are meant to fail.
	requestTimeout = time.Second
)

func TestStopLeavesNothing(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	cp := start(t, controlplane.Options{Nodes: 1})

	pids := map[controlplane.Role]int{}
	for _, role := range controlplane.Roles() {
		pids[role] = cp.Process(role).PID()
	}
	ctx, cancel := context.WithTimeout(t.Context(), stopTimeout)
	defer cancel()
	// A client that does not go away must not hold up the end.
	watch, err := clientFor(t, cp.Config()).CoreV1().ConfigMaps("").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	begin := time.Now()
	if err := cp.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
	t.Logf("stopped after %s", time.Since(begin))
	for role, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s (process %d) after Stop: %v, want no such process", role, pid, err)
		}
	}
	wantEmpty(t, temporary)
	if err := cp.Stop(ctx); err != nil {
		t.Errorf("second Stop: %v, want nothing", err)
	}
}

func TestStopAfterACrash(t *testing.T) {
	tests := []struct {
		reason string
		role   controlplane.Role
	}{
		{"the API server does not wait for an etcd that is gone", controlplane.Etcd},
		{"the controller manager does not wait for an API server that is gone", controlplane.APIServer},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			cp := start(t, controlplane.Options{})
			if err := cp.Process(test.role).Kill(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), stopTimeout)
			defer cancel()
			if err := cp.Stop(ctx); err != nil {
				t.Errorf("Stop: %v", err)
			}
		})
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	tests := []struct {
		reason  string
		options controlplane.Options
		wantErr string
		// wantProgress are the lines that Progress gets.
		wantProgress []string
	}{
		{
			reason:  "a role fails to start",
			options: controlplane.Options{Binary: "/bin/false"},
			wantErr: "etcd ended without output: exit status 1",
		},
		{
			reason: "every port that is tried has been taken meanwhile",
			options: controlplane.Options{
				Binary: script(t, "echo 'listen tcp 127.0.0.1:1: bind: address already in use' >&2; exit 1"),
			},
			wantErr:      "address already in use",
			wantProgress: slices.Repeat([]string{"a port was taken by another process; trying others"}, 4),
		},
		{
			reason:  "there is no such program",
			options: controlplane.Options{Binary: "/nonexistent/controlplane"},
			wantErr: "start etcd: ",
		},
		{
			reason:  "the program is not given",
			wantErr: "the path of the controlplane program is missing",
		},
		{
			reason: "a role needs one that is not asked for",
			options: controlplane.Options{
				Binary: "/bin/false", Roles: []controlplane.Role{controlplane.ControllerManager, controlplane.Etcd},
			},
			wantErr: "role controller-manager needs role apiserver",
		},
		{
			reason:  "there is no such role",
			options: controlplane.Options{Binary: "/bin/false", Roles: []controlplane.Role{"kubelet"}},
			wantErr: `role "kubelet" does not exist`,
		},
		{
			reason: "nodes need the controller that makes them ready",
			options: controlplane.Options{
				Binary: "/bin/false", Roles: []controlplane.Role{controlplane.Etcd, controlplane.APIServer}, Nodes: 1,
			},
			wantErr: "role scheduler needs role controller-manager",
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			temporary := t.TempDir()
			t.Setenv("TMPDIR", temporary)
			var progress []string
			test.options.Progress = func(line string) { progress = append(progress, line) }
			_, err := controlplane.Start(t.Context(), test.options)
			if err == nil || !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("Start: %v, want an error with %q", err, test.wantErr)
			}
			if diff := cmp.Diff(test.wantProgress, progress); diff != "" {
				t.Errorf("progress (-want +got):\n%s", diff)
			}
			wantEmpty(t, temporary)
		})
	}
}

func TestTwoBesideEachOther(t *testing.T) {
	roles := []controlplane.Role{controlplane.Etcd, controlplane.APIServer}
	one := start(t, controlplane.Options{Roles: roles})
	other := start(t, controlplane.Options{Roles: roles})

	createNamespace(t, clientFor(t, one.Config()), "only-in-one")
	_, err := clientFor(t, other.Config()).CoreV1().Namespaces().Get(t.Context(), "only-in-one", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the other control plane has a namespace that was made in the first: %v, want not found", err)
	}
	stolen := one.Config()
	stolen.Host, stolen.CAData, stolen.Insecure = other.Config().Host, nil, true
	_, err = clientFor(t, stolen).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsUnauthorized(err) {
		t.Errorf("the admin of one control plane in the other: %v, want unauthorized", err)
	}
}

func TestGivenFolderIsKept(t *testing.T) {
	options := controlplane.Options{
		Dir:   t.TempDir(),
		Roles: []controlplane.Role{controlplane.Etcd, controlplane.APIServer},
	}
	first := start(t, options)
	createNamespace(t, clientFor(t, first.Config()), "kept")
	access, err := first.ConfigFor("jane", "system:masters")
	if err != nil {
		t.Fatal(err)
	}

	options.Binary = build(t)
	_, err = controlplane.Start(t.Context(), options)
	if err == nil || !strings.Contains(err.Error(), "another control plane uses") {
		t.Errorf("Start in a folder that is in use: %v, want an error that says so", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), stopTimeout)
	defer cancel()
	if err := first.Stop(ctx); err != nil {
		t.Fatal(err)
	}

	second := start(t, options)
	access.Host = second.Config().Host
	if _, err := clientFor(t, access).CoreV1().Namespaces().Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("a namespace of the first start, by a user of the first start, in the second: %v", err)
	}
}

// script writes a shell script that stands in for the controlplane program.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "controlplane")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func build(t *testing.T) string {
	t.Helper()
	path, err := binary.Build(t.Context(), binary.ControlPlane, nil)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts a control plane that is stopped at the end of the test.
func start(t *testing.T, options controlplane.Options) *controlplane.ControlPlane {
	t.Helper()
	options.Binary = build(t)
	options.Progress = func(line string) { t.Log(line) }
	cp, err := controlplane.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// t.Context ends before the clean-up begins.
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := cp.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return cp
}

func clientFor(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func createNamespace(t *testing.T, client *kubernetes.Clientset, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition; what says in words which one.
func eventually(t *testing.T, what string, condition wait.ConditionWithContextFunc) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, condition); err != nil {
		t.Fatalf("wait until %s: %v", what, err)
	}
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		t.Errorf("%s was left behind in the temporary folder", entry.Name())
	}
}
