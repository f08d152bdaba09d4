package controlplane

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// startNodes makes the Nodes that KWOK plays, unless they are there from an earlier start, and waits until Pods can be bound
// to them.
func (cp *ControlPlane) startNodes(ctx context.Context) error {
	if cp.options.Nodes == 0 {
		return nil
	}
	client, err := kubernetes.NewForConfig(cp.Config())
	if err != nil {
		return fmt.Errorf("make nodes: %w", err)
	}
	for i := range cp.options.Nodes {
		if _, err := client.CoreV1().Nodes().Create(ctx, node(i+1), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("make nodes: %w", err)
		}
	}
	err = wait.PollUntilContextTimeout(ctx, readyInterval, readyTimeout, true, func(ctx context.Context) (bool, error) {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err == nil && !slices.ContainsFunc(nodes.Items, unready), err
	})
	if err != nil {
		return fmt.Errorf("wait for the nodes to be ready: %w", err)
	}
	cp.progress(fmt.Sprintf("%d nodes are ready", cp.options.Nodes))
	return nil
}

// node is what a kubelet would register: a big machine, in a zone of its own.
func node(number int) *corev1.Node {
	name := fmt.Sprintf("node-%d", number)
	cidr := fmt.Sprintf("10.244.%d.0/24", number)
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("32"), corev1.ResourceMemory: resource.MustParse("256Gi"), corev1.ResourcePods: resource.MustParse("250"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname:       name,
			corev1.LabelOSStable:       "linux",
			corev1.LabelArchStable:     runtime.GOARCH,
			corev1.LabelTopologyRegion: "region",
			corev1.LabelTopologyZone:   fmt.Sprintf("zone-%d", number),
		}},
		Spec: corev1.NodeSpec{PodCIDR: cidr, PodCIDRs: []string{cidr}},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.1.0.%d", number)},
				{Type: corev1.NodeHostName, Address: name},
			},
		},
	}
}

// unready says whether Pods are still kept from a Node, which the taint says that the Node's controller takes away.
func unready(node corev1.Node) bool {
	ready := slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	return !ready || len(node.Spec.Taints) > 0
}
