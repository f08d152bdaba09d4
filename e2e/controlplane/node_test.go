package controlplane_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

// TestNodes runs the workloads of every kind that Istio has on two Nodes.
func TestNodes(t *testing.T) {
	cp := start(t, controlplane.Options{Nodes: 2, KubeletImages: []string{"istio/pilot", "webhook"}})
	client := clientFor(t, cp.Config())
	parts := []struct {
		reason string
		test   func(*testing.T, *kubernetes.Clientset)
	}{
		{"the pods of a Deployment become ready, on both nodes", testDeployment},
		{"a DaemonSet has a pod on every node", testDaemonSet},
		{"a Job completes", testJob},
		{"a deleted pod goes", testPodDeletion},
		{"a pod of an image that is left out stays as it is", testPodsLeftOut},
	}
	for _, part := range parts {
		t.Run(part.reason, func(t *testing.T) { part.test(t, client) })
	}
}

func testDeployment(t *testing.T, client *kubernetes.Clientset) {
	deployments := client.AppsV1().Deployments(metav1.NamespaceDefault)
	pod := template("deployment", "example.com/app:1")
	// Otherwise the scheduler may well put both on one node: it has room for thousands.
	pod.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		TopologyKey: corev1.LabelHostname, MaxSkew: 1, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: selector("deployment"),
	}}
	_, err := deployments.Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "deployment"},
		Spec:       appsv1.DeploymentSpec{Replicas: ptr.To[int32](2), Selector: selector("deployment"), Template: pod},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both replicas are available", func(ctx context.Context) (bool, error) {
		got, err := deployments.Get(ctx, "deployment", metav1.GetOptions{})
		return err == nil && got.Status.AvailableReplicas == 2, err
	})
	pods, err := client.CoreV1().Pods(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{LabelSelector: "app=deployment"})
	if err != nil {
		t.Fatal(err)
	}
	nodes, addresses := map[string]bool{}, map[string]bool{}
	for _, pod := range pods.Items {
		nodes[pod.Spec.NodeName], addresses[pod.Status.PodIP] = true, true
	}
	if len(nodes) != 2 || len(addresses) != 2 {
		t.Errorf("the pods are on nodes %v with addresses %v, want two of each", slices.Collect(maps.Keys(nodes)), slices.Collect(maps.Keys(addresses)))
	}
}

func testDaemonSet(t *testing.T, client *kubernetes.Clientset) {
	sets := client.AppsV1().DaemonSets(metav1.NamespaceDefault)
	_, err := sets.Create(t.Context(), &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "daemonset"},
		Spec:       appsv1.DaemonSetSpec{Selector: selector("daemonset"), Template: template("daemonset", "example.com/app:1")},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is ready on both nodes", func(ctx context.Context) (bool, error) {
		got, err := sets.Get(ctx, "daemonset", metav1.GetOptions{})
		return err == nil && got.Status.NumberReady == 2, err
	})
}

func testJob(t *testing.T, client *kubernetes.Clientset) {
	jobs := client.BatchV1().Jobs(metav1.NamespaceDefault)
	pod := template("job", "example.com/app:1")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	_, err := jobs.Create(t.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "job"}, Spec: batchv1.JobSpec{Template: pod},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is complete", func(ctx context.Context) (bool, error) {
		got, err := jobs.Get(ctx, "job", metav1.GetOptions{})
		return err == nil && got.Status.CompletionTime != nil, err
	})
}

func testPodDeletion(t *testing.T, client *kubernetes.Clientset) {
	createPod(t, client, "doomed", "example.com/app:1")
	waitForPhase(t, client, "doomed", corev1.PodRunning)
	pods := client.CoreV1().Pods(metav1.NamespaceDefault)
	if err := pods.Delete(t.Context(), "doomed", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod is gone", func(ctx context.Context) (bool, error) {
		_, err := pods.Get(ctx, "doomed", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}

func testPodsLeftOut(t *testing.T, client *kubernetes.Clientset) {
	tests := []struct {
		reason, name, image string
		leftOut             bool
	}{
		{"its repository, in a registry", "in-registry", "registry.example.com:5000/istio/pilot:1.31.1", true},
		{"its repository alone, by digest", "digest", "istio/pilot@sha256:f7aec4f9e1b7cf4f1a1ed17c72ee0eb4c8e4bcbdb8ff9d9d6c5c9f2b4b1d6a5e", true},
		{"the last part of its repository", "last-part", "meshwarden/webhook:v1", true},
		{"another repository that ends alike", "ends-alike", "example.com/my-webhook:v1", false},
		{"another repository below it", "below", "istio/pilot/agent", false},
		{"the same name as a tag", "tag", "example.com/app:webhook", false},
	}
	for _, test := range tests {
		createPod(t, client, test.name, test.image)
	}
	// Once KWOK has played the others, it has seen those that it leaves out, which were made before.
	createPod(t, client, "last", "example.com/app:1")
	waitForPhase(t, client, "last", corev1.PodRunning)
	for _, test := range tests {
		want := corev1.PodRunning
		if test.leftOut {
			want = corev1.PodPending
		}
		t.Run(test.reason, func(t *testing.T) { waitForPhase(t, client, test.name, want) })
	}
}

func waitForPhase(t *testing.T, client *kubernetes.Clientset, name string, want corev1.PodPhase) {
	t.Helper()
	eventually(t, "pod "+name+" is "+string(want), func(ctx context.Context) (bool, error) {
		got, err := client.CoreV1().Pods(metav1.NamespaceDefault).Get(ctx, name, metav1.GetOptions{})
		return err == nil && got.Status.Phase == want && got.Spec.NodeName != "", err
	})
}

func createPod(t *testing.T, client *kubernetes.Clientset, name, image string) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: template(name, image).Spec}
	eventually(t, "the pod is admitted, for which its service account has to be there", func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().Pods(metav1.NamespaceDefault).Create(ctx, pod, metav1.CreateOptions{})
		if apierrors.IsForbidden(err) {
			return false, nil
		}
		return err == nil, err
	})
}

func template(app, image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}}},
	}
}

func selector(app string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
}
