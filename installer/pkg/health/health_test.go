package health

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"
)

// deployment returns a Deployment whose status is that text.
func deployment(status string) *unstructured.Unstructured {
	return object(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, generation: 2, uid: d}
spec: {replicas: 1, progressDeadlineSeconds: 600, selector: {matchLabels: {app: istiod}}}
status: {observedGeneration: 2, ` + status + `}`)
}

func daemonSet(status string) *unstructured.Unstructured {
	return object(`
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: istio-cni-node, namespace: istio-system, generation: 1, uid: s}
spec: {selector: {matchLabels: {k8s-app: istio-cni-node}}}
status: {observedGeneration: 1, ` + status + `}`)
}

func job(status string) *unstructured.Unstructured {
	return object(`
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, namespace: istio-system, generation: 1, uid: j}
spec: {selector: {matchLabels: {job: migrate}}}
status: {` + status + `}`)
}

func crd(status string) *unstructured.Unstructured {
	return object(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gateways.networking.istio.io, generation: 1}
status: {conditions: [` + status + `]}`)
}

func object(text string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		panic(err)
	}
	// A client's integers are int64.
	content, err := o.MarshalJSON()
	if err != nil {
		panic(err)
	}
	if err := o.UnmarshalJSON(content); err != nil {
		panic(err)
	}
	return o
}

const (
	available = "replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1, " +
		"conditions: [{type: Available, status: 'True'}, {type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]"
	unavailable = "replicas: 1, updatedReplicas: 1, conditions: [{type: Available, status: 'False', reason: MinimumReplicasUnavailable}]"
)

// pod returns a pod of the Deployment.
func pod(name string, status corev1.PodStatus) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "istio-system", Name: name, UID: types.UID(name),
			Labels: map[string]string{"app": "istiod", "pod-template-hash": "5d"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "istiod-5d", UID: "r", Controller: ptr.To(true),
			}},
		},
		Status: status,
	}
}

func waiting(reason, message string) corev1.PodStatus {
	return containers(corev1.ContainerStatus{
		Name: "discovery", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
	})
}

func containers(c ...corev1.ContainerStatus) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: c}
}

// event returns a Warning about the object of the UID, seen so many minutes after the first.
func event(about, reason, message string, minutes int) corev1.Event {
	first := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "istio-system", Name: reason + message[:1] + about},
		InvolvedObject: corev1.ObjectReference{UID: types.UID(about)},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: message,
		LastTimestamp: metav1.NewTime(first.Add(time.Duration(minutes) * time.Minute)),
	}
}

func TestExplain(t *testing.T) {
	crashed := containers(corev1.ContainerStatus{
		Name: "discovery",
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
			Reason: "CrashLoopBackOff", Message: "back-off 2m40s restarting failed container",
		}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 255, Reason: "Error", Message: "failed to read the mesh\nconfiguration",
		}},
	})
	unschedulable := corev1.PodStatus{Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available: 3 Insufficient memory.",
	}}}
	going := pod("istiod-5d-a", waiting("ImagePullBackOff", "no such image"))
	going.DeletionTimestamp = ptr.To(metav1.Now())
	long := strings.Repeat("é", longest+1)
	const prefix = "Deployment istio-system/istiod: 0 of 1 replicas available: "

	cases := map[string]struct {
		reason   string
		workload *unstructured.Unstructured
		pods     []corev1.Pod
		events   []corev1.Event
		want     []string
	}{
		"Available": {reason: "nothing to say", workload: deployment(available)},
		"NotTakenUp": {
			reason: "the numbers are of the version before", workload: deployment(strings.Replace(available, "replicas: 1", "observedGeneration: 1", 1)),
			want: []string{"Deployment istio-system/istiod: its controller has not taken it up yet"},
		},
		"NothingKnown": {
			reason: "no pod tells anything", workload: deployment(unavailable),
			pods: []corev1.Pod{pod("istiod-5d-a", waiting("ContainerCreating", ""))},
			want: []string{"Deployment istio-system/istiod: 0 of 1 replicas available"},
		},
		"OldReplica": {
			reason: "an old pod still serves while the new one does not start", workload: deployment("replicas: 2, updatedReplicas: 1, availableReplicas: 1"),
			pods: []corev1.Pod{pod("istiod-5d-a", waiting("ErrImagePull", "not found"))},
			want: []string{"Deployment istio-system/istiod: old replicas still running: 1: pod istiod-5d-a: ErrImagePull: not found"},
		},
		"ImagePull": {
			reason: "the same fault of several pods is one line", workload: deployment(unavailable),
			pods: []corev1.Pod{
				pod("istiod-5d-b", waiting("ImagePullBackOff", "no such\nimage")), pod("istiod-5d-a", waiting("ImagePullBackOff", "no such image")),
				pod("istiod-5d-c", waiting("InvalidImageName", "")),
			},
			want: []string{prefix + "pod istiod-5d-a and 1 more: ImagePullBackOff: no such image", prefix + "pod istiod-5d-c: InvalidImageName"},
		},
		"CrashLoop": {
			reason: "how it ended counts, not how long the pause is", workload: deployment(unavailable), pods: []corev1.Pod{pod("istiod-5d-a", crashed)},
			want: []string{prefix + "pod istiod-5d-a: CrashLoopBackOff: container discovery ended with exit code 255: failed to read the mesh configuration"},
		},
		"Killed": {
			reason: "a container that was ended and has not been started again", workload: deployment(unavailable),
			pods: []corev1.Pod{pod("istiod-5d-a", containers(corev1.ContainerStatus{
				Name: "discovery", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}},
			}))},
			want: []string{prefix + "pod istiod-5d-a: container discovery ended with exit code 137 (OOMKilled)"},
		},
		"InitContainer": {
			reason: "an init container holds up the others", workload: deployment(unavailable),
			pods: []corev1.Pod{pod("istiod-5d-a", corev1.PodStatus{
				InitContainerStatuses: waiting("CreateContainerConfigError", `secret "x" not found`).ContainerStatuses,
				ContainerStatuses:     waiting("PodInitializing", "").ContainerStatuses,
			})},
			want: []string{prefix + `pod istiod-5d-a: CreateContainerConfigError: secret "x" not found`},
		},
		"Unschedulable": {
			reason: "no node", workload: deployment(unavailable), pods: []corev1.Pod{pod("istiod-5d-a", unschedulable)},
			want: []string{prefix + "pod istiod-5d-a: Unschedulable: 0/3 nodes are available: 3 Insufficient memory."},
		},
		"Evicted": {
			reason: "the pod says it of itself", workload: deployment(unavailable),
			pods: []corev1.Pod{pod("istiod-5d-a", corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on memory."})},
			want: []string{prefix + "pod istiod-5d-a: Evicted: The node was low on memory."},
		},
		"Mount": {
			reason: "the newest Event explains a pod that waits without a reason of its own", workload: deployment(unavailable),
			pods: []corev1.Pod{pod("istiod-5d-a", waiting("ContainerCreating", ""))},
			events: []corev1.Event{
				event("istiod-5d-a", "FailedMount", `configmap "istio-ca-root-cert" not found`, 2), event("istiod-5d-a", "FailedScheduling", "no node", 1),
				event("somebody", "Unhealthy", "another pod's", 3),
			},
			want: []string{prefix + `pod istiod-5d-a: FailedMount: configmap "istio-ca-root-cert" not found`},
		},
		"Terminating": {
			reason: "a pod that goes explains nothing", workload: deployment(unavailable), pods: []corev1.Pod{going},
			want: []string{"Deployment istio-system/istiod: 0 of 1 replicas available"},
		},
		"Quota": {
			reason: "the refused pod's name is left out: it is another one each time",
			workload: deployment(`conditions: [{type: ReplicaFailure, status: 'True', reason: FailedCreate,
				message: 'pods "istiod-5d-x2x" is forbidden: exceeded quota: small, requested: cpu=500m, used: cpu=0, limited: cpu=100m'}]`),
			want: []string{prefix + "FailedCreate: pod is forbidden: exceeded quota: small, requested: cpu=500m, used: cpu=0, limited: cpu=100m"},
		},
		"Deadline": {
			reason: "only when nothing else explains it",
			workload: deployment(`replicas: 1, updatedReplicas: 1,
				conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded, message: 'ReplicaSet "istiod-5d" has timed out progressing.'}]`),
			want: []string{prefix + `ProgressDeadlineExceeded: ReplicaSet "istiod-5d" has timed out progressing.`},
		},
		"DeadlineExplained": {
			reason:   "the pod's reason is why the deadline passed",
			workload: deployment(`conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]`),
			pods:     []corev1.Pod{pod("istiod-5d-a", crashed)},
			want:     []string{prefix + "pod istiod-5d-a: CrashLoopBackOff: container discovery ended with exit code 255: failed to read the mesh configuration"},
		},
		"Long": {
			reason: "a foreign message is cut", workload: deployment(unavailable), pods: []corev1.Pod{pod("istiod-5d-a", waiting("ErrImagePull", long))},
			want: []string{prefix + "pod istiod-5d-a: ErrImagePull: " + strings.Repeat("é", longest) + "…"},
		},
		"DaemonSetRefused": {
			reason: "a DaemonSet has no condition for it; the last Event counts", workload: daemonSet("desiredNumberScheduled: 2, currentNumberScheduled: 0"),
			events: []corev1.Event{
				event("s", failedCreate, `Error creating: pods "istio-cni-node-x" is forbidden: violates PodSecurity "restricted:latest": host namespaces`, 5),
				event("s", failedCreate, `Error creating: an older fault`, 1),
			},
			want: []string{`DaemonSet istio-system/istio-cni-node: 0 of 2 replicas available: FailedCreate: pod is forbidden: violates PodSecurity "restricted:latest": host namespaces`},
		},
		"DaemonSetCreated": {
			reason: "the refusal is over", workload: daemonSet("desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1"),
			events: []corev1.Event{event("s", failedCreate, "Error creating: quota", 5)},
			want:   []string{"DaemonSet istio-system/istio-cni-node: 1 of 2 replicas available"},
		},
		"NoNodes": {reason: "a DaemonSet without a node has nothing to do", workload: daemonSet("desiredNumberScheduled: 0, currentNumberScheduled: 0")},
		"JobFailed": {
			reason:   "a Job that gave up",
			workload: job("startTime: 2026-01-01T00:00:00Z, failed: 4, conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded, message: It has failed too often}]"),
			want:     []string{"Job istio-system/migrate: Job Failed. failed: 4/1: BackoffLimitExceeded: It has failed too often"},
		},
		"CRD": {reason: "served", workload: crd("{type: NamesAccepted, status: 'True'}, {type: Established, status: 'True'}")},
		"CRDConflict": {
			reason: "another CRD has the name", workload: crd(`{type: NamesAccepted, status: 'False', reason: PluralConflict, message: '"gateways" is taken'}`),
			want: []string{`CustomResourceDefinition gateways.networking.istio.io: "gateways" is taken`},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			lack, err := shortfall(c.workload)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if lack != "" {
				got = observation{workload: c.workload, pods: c.pods, events: c.events}.explain(lack)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// reader returns a client as the API server would answer.
func reader(objects ...client.Object) client.WithWatch {
	return fake.NewClientBuilder().WithObjects(objects...).
		WithIndex(&corev1.Event{}, "type", func(o client.Object) []string { return []string{o.(*corev1.Event).Type} }).Build()
}

func TestCheck(t *testing.T) {
	own := pod("istiod-5d-a", waiting("ErrImagePull", "not found"))
	// The pods of the next have the Deployment's labels, and another owner.
	foreign := pod("canary-5d-a", waiting("ErrImagePull", "not of this one"))
	foreign.OwnerReferences[0].Name = "istiod-canary-5d"
	orphan := pod("orphan", waiting("ErrImagePull", "of nobody"))
	orphan.OwnerReferences = nil
	service := object(`{apiVersion: v1, kind: Service, metadata: {name: istio-ingressgateway, namespace: istio-system}, spec: {type: LoadBalancer}}`)
	missing := object(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: gone, namespace: istio-system}}`)

	got, err := Check(t.Context(), reader(deployment(unavailable), &own, &foreign, &orphan, crd("")), []*unstructured.Unstructured{service, deployment(""), missing, crd("")})
	if err != nil {
		t.Fatal(err)
	}
	want := State{Waiting: []string{
		"Deployment istio-system/istiod: 0 of 1 replicas available: pod istiod-5d-a: ErrImagePull: not found",
		"Deployment istio-system/gone: does not exist",
		"CustomResourceDefinition gateways.networking.istio.io: Install in progress",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	got, err = Check(t.Context(), reader(deployment(available)), []*unstructured.Unstructured{service, deployment("")})
	if diff := cmp.Diff(State{Ready: true}, got); diff != "" || err != nil {
		t.Errorf("state (-want +got), error %v:\n%s", err, diff)
	}
}

func TestCheckCannotRead(t *testing.T) {
	broken := errors.New("no connection")
	c := interceptor.NewClient(reader(deployment(unavailable)), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return broken },
	})
	if _, err := Check(t.Context(), c, []*unstructured.Unstructured{deployment("")}); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}
