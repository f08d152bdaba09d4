package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestConflictFixtures asks Istio about the fixtures of the rules that it is the judge of, which were written by hand.
func TestConflictFixtures(t *testing.T) {
	fixtures, err := fixture.Load(os.DirFS("../../testdata/rules"))
	if err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, f := range fixtures {
		if !slices.Contains(conflictRules(), f.Rule) || f.Operation == fixture.Delete || f.Submitted.GetKind() != string(policy.KindGateway) {
			continue
		}
		judged++
		t.Run(f.Path, func(t *testing.T) {
			c, err := conflictOf(f)
			if err != nil {
				t.Fatal(err)
			}
			cases, err := JudgeConflictCases([]*ConflictCase{c})
			if err != nil {
				t.Fatal(err)
			}
			v, found, err := cases[0].Compare(Seam{})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range found {
				t.Errorf("%s: %s: %s", f.Reason, d.Kind, d.Detail)
			}
			if fires := slices.ContainsFunc(v.Found, func(found policy.Finding) bool { return found.Rule == f.Rule }); fires != f.Fails {
				t.Errorf("%s fires: %t, and the fixture says %t", f.Rule, fires, f.Fails)
			}
		})
	}
	if judged < 50 {
		t.Errorf("only %d fixtures were judged", judged)
	}
}

// conflictOf returns the fixture as a case. Each server gets a name by which Istio's answer is read.
func conflictOf(f fixture.Fixture) (*ConflictCase, error) {
	c := &ConflictCase{World: &World{}}
	old := f.Old()
	for _, o := range append(slices.Clone(f.Stored), f.Submitted) {
		if o == old {
			c.Old = &Gateway{}
			if err := decode(o, c.Old); err != nil {
				return nil, err
			}
			continue
		}
		if err := c.World.put(o); err != nil {
			return nil, err
		}
	}
	submitted := c.World.Gateways[len(c.World.Gateways)-1]
	c.Submitted = submitted.Key()
	for i, g := range c.World.Gateways {
		if g.CreationTimestamp.IsZero() {
			// Istio's store takes it for made just now, and the rules for made with all others that do not say.
			g.CreationTimestamp = metav1.Unix(1, 0)
		}
		for s, server := range g.Spec.Servers {
			server.Name = fmt.Sprintf("g%d-s%d", i, s)
		}
	}
	return c, nil
}

// put adds the object to the world.
func (w *World) put(o *unstructured.Unstructured) error {
	kind := policy.Kind(o.GetKind())
	switch kind {
	case policy.KindGateway:
		return add(&w.Gateways, o)
	case policy.KindVirtualService:
		return add(&w.VirtualServices, o)
	case policy.KindService:
		return add(&w.Services, o)
	case istio.KindConfigMap:
		return fmt.Errorf("%s %s: no fixture of these rules needs the mesh configuration", kind, o.GetName())
	}
	if kind == policy.KindDeployment && o.GetLabels()["app"] == "istiod" {
		// What the fixtures have istiod's Deployment for is its scope.
		w.Settings.ScopeGateways = true
		return nil
	}
	var d appsv1.Deployment
	if err := decode(o, &d); err != nil {
		return err
	}
	template := d.Spec.Template
	if kind == policy.KindPod {
		var p corev1.Pod
		if err := decode(o, &p); err != nil {
			return err
		}
		template.ObjectMeta, template.Spec = p.ObjectMeta, p.Spec
	}
	r, err := translate(kind, o.Object, w.Settings.clusterDomain())
	if err != nil {
		return err
	}
	known, ok := r.(*policy.Workload)
	if !ok {
		return fmt.Errorf("%s %s is no workload", kind, o.GetName())
	}
	workload := &Workload{
		Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), Labels: template.Labels,
		Router: known.Router, Unprivileged: known.Unprivileged,
	}
	for _, container := range template.Spec.Containers {
		workload.Ports = append(workload.Ports, container.Ports...)
	}
	w.Workloads = append(w.Workloads, workload)
	return nil
}

// add decodes the object and adds it to the list.
func add[T any](list *[]*T, o *unstructured.Unstructured) error {
	var v T
	if err := decode(o, &v); err != nil {
		return err
	}
	*list = append(*list, &v)
	return nil
}

func decode(o *unstructured.Unstructured, into any) error {
	text, err := json.Marshal(o.Object)
	if err != nil {
		return fmt.Errorf("cannot write %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("cannot read %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}
