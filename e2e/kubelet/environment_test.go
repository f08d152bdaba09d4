package kubelet

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestEnvironment(t *testing.T) {
	node := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("32"), corev1.ResourceMemory: resource.MustParse("1Gi")}
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	amount := func(name, divisor string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: name, Divisor: resource.MustParse(divisor)}}
	}
	tests := []struct {
		reason      string
		variables   []corev1.EnvVar
		allocatable corev1.ResourceList
		want        map[string]string
		wantErr     string
	}{
		{reason: "a value", variables: []corev1.EnvVar{{Name: "A", Value: "a"}}, want: map[string]string{"A": "a"}},
		{
			reason:    "a value with those before it, and as it is where there is none",
			variables: []corev1.EnvVar{{Name: "A", Value: "a"}, {Name: "B", Value: "$(A)$(C)$$(A)"}, {Name: "C"}},
			want:      map[string]string{"A": "a", "B": "a$(C)$(A)", "C": ""},
		},
		{
			reason: "the pod's own fields",
			variables: []corev1.EnvVar{
				{Name: "NAME", ValueFrom: field("metadata.name")},
				{Name: "NAMESPACE", ValueFrom: field("metadata.namespace")},
				{Name: "APP", ValueFrom: field("metadata.labels['app']")},
				{Name: "ACCOUNT", ValueFrom: field("spec.serviceAccountName")},
				{Name: "NODE", ValueFrom: field("spec.nodeName")},
				{Name: "POD_IP", ValueFrom: field("status.podIP")},
				{Name: "HOST_IP", ValueFrom: field("status.hostIP")},
			},
			want: map[string]string{
				"NAME": "web-1", "NAMESPACE": "shop", "APP": "web", "ACCOUNT": "web", "NODE": "node-1", "POD_IP": "10.0.0.1", "HOST_IP": "10.1.0.1",
			},
		},
		{reason: "a field that no variable can have", variables: []corev1.EnvVar{{Name: "A", ValueFrom: field("status.phase")}}, wantErr: "variable A: unsupported fieldPath"},
		{
			reason: "the container's amounts, rounded up", variables: []corev1.EnvVar{{Name: "A", ValueFrom: amount("limits.memory", "1")}, {Name: "B", ValueFrom: amount("requests.cpu", "1")}},
			want: map[string]string{"A": "536870912", "B": "1"},
		},
		{
			reason: "those of the node where it has no limit", variables: []corev1.EnvVar{{Name: "A", ValueFrom: amount("limits.cpu", "1")}},
			allocatable: node, want: map[string]string{"A": "32"},
		},
		{reason: "neither", variables: []corev1.EnvVar{{Name: "A", ValueFrom: amount("limits.cpu", "1")}}, wantErr: "no limits.cpu"},
		{
			reason: "out of a Secret", wantErr: "variable A: where it comes from is not played",
			variables: []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{}}}},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			pod := examplePod()
			pod.Status.PodIP, pod.Status.HostIP = "10.0.0.1", "10.1.0.1"
			container := &pod.Spec.Containers[0]
			container.Env = tc.variables
			container.Resources = corev1.ResourceRequirements{
				Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")},
			}
			got, err := environment(pod, container, tc.allocatable)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("error %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("error %v, variables (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	pod := examplePod()
	container := &pod.Spec.Containers[0]
	variables, err := environment(pod, container, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := Sandbox{
		Place:     Place{Root: "/r", Kubeconfig: "/k", Namespace: "shop", mountPaths: []string{"/etc/web", "/tmp"}},
		Container: container, variables: variables, Addresses: map[int32]string{8080: "127.0.0.1:1", 8081: "127.0.0.1:2"},
		program: Program{
			Listen: map[int32]string{8080: "--address", 8081: "--health"}, Env: []string{"MORE=1"},
			Options: func(at Place) []string {
				folder, mounted := at.Mounted("/etc/web")
				_, other := at.Mounted("/etc")
				if !mounted || other {
					t.Errorf("mounted: /etc/web %t, /etc %t, want the first alone", mounted, other)
				}
				return []string{"--dir=" + folder, "--namespace=" + at.Namespace}
			},
		},
	}
	wantArgs := []string{
		"serve", "--name=web-1", "--key=/r/etc/web/tls.key", "/r/etc/web", "--address=127.0.0.1:1", "--health=127.0.0.1:2",
		"--dir=/r/etc/web", "--namespace=shop", "--last",
	}
	if diff := cmp.Diff(wantArgs, s.arguments("--last")); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	wantEnv := []string{"KUBECONFIG=/k", "TMPDIR=/r/tmp", "CERTIFICATE=/r/etc/web/tls.crt", "NAME=web-1", "WHERE=web-1.example.com", "MORE=1"}
	if diff := cmp.Diff(wantEnv, s.environment()); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestRelocated(t *testing.T) {
	at := Place{Root: "/r", mountPaths: []string{"/etc/web"}}
	for _, tc := range []struct{ reason, text, want string }{
		{"a folder", "/etc/web", "/r/etc/web"},
		{"a file in it", "/etc/web/a/b", "/r/etc/web/a/b"},
		{"as the value of an option", "--file=/etc/web/a", "--file=/r/etc/web/a"},
		{"a folder beside it", "--file=/etc/website", "--file=/etc/website"},
		{"the folder above it", "/etc", "/etc"},
		{"a path in the middle", "a:/etc/web", "a:/etc/web"},
		{"nothing", "", ""},
	} {
		if got := at.relocated(tc.text); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.reason, got, tc.want)
		}
	}
}
