package kubelet_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/kubelet"
)

// patience is how long a test waits for what must come. It says nothing about how fast it should.
const patience = 3 * time.Minute

// serving has the test's own program serve HTTP, in a pod.
const serving = "MESHWARDEN_TEST_SERVE"

func TestMain(m *testing.M) {
	if os.Getenv(serving) != "" {
		serve()
		return
	}
	log.SetLogger(logr.Discard()) // the clients' own
	os.Exit(m.Run())
}

// serve answers until it is told not to be alive any more.
func serve() {
	address := flag.String("address", ":8080", "")
	flag.Parse()
	ill := make(chan struct{})
	http.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/fall-ill", func(http.ResponseWriter, *http.Request) { close(ill) })
	http.HandleFunc("/live", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-ill:
			w.WriteHeader(http.StatusInternalServerError)
		default:
		}
	})
	fmt.Println(http.ListenAndServe(*address, nil)) //nolint:gosec // it serves a test
}

// fixture is a control plane whose pods with the images shell and server are played.
type fixture struct {
	client client.Client
	*kubelet.Kubelet
	log *lines
}

func TestKubelet(t *testing.T) {
	f := start(t)
	for _, part := range []struct {
		reason string
		test   func(*testing.T, *fixture)
	}{
		{"a pod that ends shows how", testEnd},
		{"a pod gets its volumes, its variables and a token", testSurroundings},
		{"a pod waits for a volume that is not there yet", testMissingVolume},
		{"a Service leads to a pod that is ready, until it is deleted", testService},
		{"a pod that is not alive is started anew", testLiveness},
		{"a pod may have its grace period and no more", testGrace},
	} {
		t.Run(part.reason, func(t *testing.T) { part.test(t, f) })
	}
}

func start(t *testing.T) *fixture {
	t.Helper()
	program, err := binary.Build(t.Context(), binary.ControlPlane, nil)
	noError(t, err)
	cp, err := controlplane.Start(t.Context(), controlplane.Options{Binary: program, Nodes: 1, KubeletImages: []string{"shell", "server", "absent"}})
	noError(t, err)
	t.Cleanup(func() { noError(t, cp.Stop(background(t))) })
	f := &fixture{log: &lines{}}
	f.client, err = client.New(cp.Config(), client.Options{})
	noError(t, err)
	self, err := os.Executable()
	noError(t, err)
	f.Kubelet, err = kubelet.Start(cp, kubelet.Options{Dir: t.TempDir(), Log: f.log, Programs: map[string]kubelet.Program{
		"shell":  {Path: "/bin/sh"},
		"server": {Path: self, Listen: map[int32]string{8080: "-address"}, Env: []string{serving + "=1"}},
	}})
	noError(t, err)
	t.Cleanup(func() {
		// One pod of the test cannot be played.
		if err := f.Stop(background(t)); err == nil || !strings.Contains(err.Error(), "default/unplayable") || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("Stop: %v, want an error about the one pod that could not be played", err)
		}
	})
	eventually(t, "the default ServiceAccount is there", func(ctx context.Context) error {
		return f.client.Get(ctx, client.ObjectKey{Namespace: "default", Name: "default"}, &corev1.ServiceAccount{})
	})
	return f
}

func testEnd(t *testing.T, f *fixture) {
	tests := []struct {
		reason, name, script string
		change               func(*corev1.PodSpec)
		// want is what the pod comes to be.
		want func(corev1.PodStatus) error
	}{
		{
			reason: "well", name: "well", script: "echo done",
			want: ended(corev1.PodSucceeded, 0, "Completed", ""),
		},
		{
			reason: "badly, with its last words", name: "badly", script: "echo no more >&2; exit 3",
			change: func(s *corev1.PodSpec) {
				s.Containers[0].TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
			},
			want: ended(corev1.PodFailed, 3, "Error", "no more"),
		},
		{
			reason: "again and again", name: "again", script: "exit 4",
			change: func(s *corev1.PodSpec) { s.RestartPolicy = corev1.RestartPolicyAlways },
			want: func(s corev1.PodStatus) error {
				c := s.ContainerStatuses[0]
				if c.RestartCount < 2 || c.State.Waiting == nil || c.State.Waiting.Reason != "CrashLoopBackOff" || c.LastTerminationState.Terminated.ExitCode != 4 {
					return fmt.Errorf("container: %+v, want it in CrashLoopBackOff, restarted twice after status 4", c)
				}
				return nil
			},
		},
		{
			reason: "not at all, for want of a program", name: "absent",
			change: func(s *corev1.PodSpec) { s.Containers[0].Image = "example.com/absent:1" },
			want:   waiting("ImagePullBackOff", "example.com/absent:1"),
		},
		{
			reason: "not at all, for what cannot be played", name: "unplayable",
			change: func(s *corev1.PodSpec) { s.Containers[0].Command = []string{"true"} },
			want:   waiting("CreateContainerConfigError", `"command":["true"]`),
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			pod := shell(tc.name, tc.script)
			if tc.change != nil {
				tc.change(&pod.Spec)
			}
			noError(t, f.client.Create(t.Context(), pod))
			eventually(t, "pod "+tc.name+" is as it should", func(ctx context.Context) error {
				if err := f.client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
					return err
				}
				if len(pod.Status.ContainerStatuses) == 0 {
					return fmt.Errorf("its status is %+v", pod.Status)
				}
				return tc.want(pod.Status)
			})
			noError(t, f.client.Delete(t.Context(), pod, client.GracePeriodSeconds(1)))
		})
	}
}

func ended(phase corev1.PodPhase, code int32, reason, message string) func(corev1.PodStatus) error {
	return func(s corev1.PodStatus) error {
		end := s.ContainerStatuses[0].State.Terminated
		if s.Phase != phase || end == nil || end.ExitCode != code || end.Reason != reason || !strings.Contains(end.Message, message) {
			return fmt.Errorf("phase %s, container %+v, want %s, status %d, %s, %q", s.Phase, end, phase, code, reason, message)
		}
		return nil
	}
}

func waiting(reason, message string) func(corev1.PodStatus) error {
	return func(s corev1.PodStatus) error {
		w := s.ContainerStatuses[0].State.Waiting
		if s.Phase != corev1.PodPending || w == nil || w.Reason != reason || !strings.Contains(w.Message, message) {
			return fmt.Errorf("phase %s, container waits for %+v, want %s: %s", s.Phase, w, reason, message)
		}
		return nil
	}
}

func testSurroundings(t *testing.T, f *fixture) {
	noError(t, f.client.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "document"}, Data: map[string]string{"document.yaml": "the document"},
	}))
	// A path that is an argument is replaced; one that is not absolute is right by itself.
	pod := shell("surroundings", `cat "$1"; echo; cat etc/labels/labels; echo; echo $NAME on $NODE; echo tmp > $TMPDIR/file; cat tmp/file; `+
		`cd var/run/secrets/kubernetes.io/serviceaccount; cat namespace; echo; test -s token && test -s ca.crt && grep -c tokenFile $KUBECONFIG`)
	pod.Spec.Containers[0].Args = append(pod.Spec.Containers[0].Args, "sh", "/etc/document/document.yaml")
	pod.Labels = map[string]string{"app": "surroundings"}
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "NAME", ValueFrom: field("metadata.name")}, {Name: "NODE", ValueFrom: field("spec.nodeName")}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{
		{Name: "document", MountPath: "/etc/document"}, {Name: "labels", MountPath: "/etc/labels"}, {Name: "tmp", MountPath: "/tmp"}, {Name: "optional", MountPath: "/optional"},
	}
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "document", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "document"}}}},
		{Name: "labels", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
			Items: []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}},
		}}},
		{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "optional", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "nowhere", Optional: ptr.To(true)}}},
	}
	noError(t, f.client.Create(t.Context(), pod))
	f.wait(t, pod, func() error {
		if pod.Status.Phase != corev1.PodSucceeded {
			return fmt.Errorf("phase %s: %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
		}
		return nil
	})
	for _, want := range []string{"the document", `app="surroundings"`, "surroundings on node-1", "tmp", "default", "1"} {
		if !f.log.has("[default/surroundings] " + want) {
			t.Errorf("the pod did not say %q; it said\n%s", want, f.log.text())
		}
	}
}

func testMissingVolume(t *testing.T, f *fixture) {
	pod := shell("early", "cat secret/key")
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "late", MountPath: "/secret"}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "late", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "late"}}}}
	noError(t, f.client.Create(t.Context(), pod))
	eventually(t, "an Event tells of the Secret", func(ctx context.Context) error {
		list := &corev1.EventList{}
		if err := f.client.List(ctx, list, client.InNamespace("default")); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.InvolvedObject.Name == "early" && e.Reason == "FailedMount" && strings.Contains(e.Message, `secrets "late" not found`) {
				return nil
			}
		}
		return fmt.Errorf("not among %d", len(list.Items))
	})
	noError(t, f.client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "late"}, StringData: map[string]string{"key": "at last"}}))
	f.wait(t, pod, func() error { return ended(corev1.PodSucceeded, 0, "Completed", "")(pod.Status) })
	if !f.log.has("[default/early] at last") {
		t.Errorf("the pod said\n%s", f.log.text())
	}
}

func testService(t *testing.T, f *fixture) {
	noError(t, f.client.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}}},
	}))
	pod := server("web")
	noError(t, f.client.Create(t.Context(), pod))
	f.wait(t, pod, func() error { return f.leads(1) })
	f.wait(t, pod, func() error {
		if c := pod.Status.ContainerStatuses; len(c) != 1 || !c[0].Ready || pod.Status.PodIP == "" {
			return fmt.Errorf("status %+v, want it ready", pod.Status)
		}
		return nil
	})
	noError(t, f.client.Delete(t.Context(), pod))
	eventually(t, "the pod is gone", func(ctx context.Context) error {
		if err := f.client.Get(ctx, client.ObjectKeyFromObject(pod), pod); !apierrors.IsNotFound(err) {
			return fmt.Errorf("get the pod: %w", err)
		}
		return f.leads(0)
	})
}

// leads fails unless the Service web leads to so many pods.
func (f *fixture) leads(want int) error {
	if got := f.Addresses("default", "web", 80); len(got) != want {
		return fmt.Errorf("the Service leads to %v, want %d", got, want)
	}
	return nil
}

func testLiveness(t *testing.T, f *fixture) {
	pod := server("web")
	noError(t, f.client.Create(t.Context(), pod))
	f.wait(t, pod, func() error { return f.leads(1) })
	response, err := http.Get("http://" + f.Addresses("default", "web", 80)[0] + "/fall-ill")
	noError(t, err)
	noError(t, response.Body.Close())
	f.wait(t, pod, func() error {
		if c := pod.Status.ContainerStatuses[0]; c.RestartCount != 1 || !c.Ready {
			return fmt.Errorf("restarts %d, ready %t, want a new one that is ready", c.RestartCount, c.Ready)
		}
		return nil
	})
	noError(t, f.client.Delete(t.Context(), pod))
}

func testGrace(t *testing.T, f *fixture) {
	pod := shell("stubborn", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
	noError(t, f.client.Create(t.Context(), pod))
	eventually(t, "the pod has set its trap", func(context.Context) error {
		if !f.log.has("[default/stubborn] ready") {
			return fmt.Errorf("it said\n%s", f.log.text())
		}
		return nil
	})
	noError(t, f.client.Delete(t.Context(), pod, client.GracePeriodSeconds(1)))
	eventually(t, "the pod is gone", func(ctx context.Context) error {
		if err := f.client.Get(ctx, client.ObjectKeyFromObject(pod), pod); !apierrors.IsNotFound(err) {
			return fmt.Errorf("get the pod: %w", err)
		}
		return nil
	})
}
