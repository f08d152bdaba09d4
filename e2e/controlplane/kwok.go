package controlplane

import (
	"bytes"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	nodestages "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	leasestages "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podstages "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/e2e/internal/repository"
)

func (cp *ControlPlane) kwokArguments() []string {
	return []string{
		"--config=" + cp.state.stages(),
		"--kubeconfig=" + cp.state.roleKubeconfig(Kwok),
		"--manage-all-nodes=true",
		// As kubelets have it. Without leases the nodes would be found not ready within a minute, and again and again.
		"--node-lease-duration-seconds=40",
		"--server-address=" + cp.address(Kwok),
		"--tls-cert-file=" + cp.state.serverFile(),
		"--tls-private-key-file=" + cp.state.serverKeyFile(),
	}
}

// kwokEnvironment keeps KWOK from the configuration of whoever runs this.
func (cp *ControlPlane) kwokEnvironment() []string {
	return []string{"KWOK_WORKDIR=" + cp.state.path("kwok")}
}

// writeStages writes what KWOK does with Nodes and Pods: its own fast stages.
func (cp *ControlPlane) writeStages() error {
	var file bytes.Buffer
	for _, text := range []string{
		nodestages.DefaultNodeInit, leasestages.DefaultNodeHeartbeatWithLease,
		podstages.DefaultPodReady, podstages.DefaultPodComplete, podstages.DefaultPodDelete,
	} {
		stage, err := leavingOut(text, cp.options.KubeletImages)
		if err != nil {
			return fmt.Errorf("write the stages of KWOK: %w", err)
		}
		file.WriteString("---\n")
		file.Write(stage)
	}
	if err := os.WriteFile(cp.state.stages(), file.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the stages of KWOK: %w", err)
	}
	return nil
}

// leavingOut returns the stage, changed so that it is not for Pods with one of the images.
func leavingOut(text string, images []string) ([]byte, error) {
	stage := unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &stage.Object); err != nil {
		return nil, err
	}
	kind, _, err := unstructured.NestedString(stage.Object, "spec", "resourceRef", "kind")
	if err != nil {
		return nil, err
	}
	if kind == "Pod" && len(images) > 0 {
		fields := []string{"spec", "selector", "matchExpressions"}
		expressions, _, err := unstructured.NestedSlice(stage.Object, fields...)
		if err != nil {
			return nil, err
		}
		// A key is a query of jq, and its strings are JSON's.
		key := fmt.Sprintf(".spec.containers.[].image | select( test(%q) )", repository.Pattern(images))
		expressions = append(expressions, map[string]any{"key": key, "operator": "DoesNotExist"})
		if err := unstructured.SetNestedSlice(stage.Object, expressions, fields...); err != nil {
			return nil, err
		}
	}
	return yaml.Marshal(stage.Object)
}
