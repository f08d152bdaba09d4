package chart

import (
	"slices"
	"testing"

	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"sigs.k8s.io/yaml"
)

// TestOrder holds Helm to what the chart relies on: what fails closed is registered last and removed first.
func TestOrder(t *testing.T) {
	manifests := map[string]string{}
	for id, fields := range mustRender(t, "meshwarden", parse(t, everything)) {
		content, err := yaml.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		manifests[id] = string(content)
	}
	kinds := func(order releaseutil.KindSortOrder) (kinds []string) {
		_, sorted, err := releaseutil.SortManifests(manifests, nil, order)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range sorted {
			kinds = append(kinds, m.Head.Kind)
		}
		return kinds
	}
	installed := kinds(releaseutil.InstallOrder)
	registered := slices.Index(installed, "ValidatingWebhookConfiguration")
	for _, kind := range []string{"ServiceAccount", "ClusterRoleBinding", "RoleBinding", "Service", "Deployment", "MutatingWebhookConfiguration"} {
		if at := slices.Index(installed, kind); at < 0 || at > registered {
			t.Errorf("%s comes after the webhooks that need it: %v", kind, installed)
		}
	}
	if removed := kinds(releaseutil.UninstallOrder); removed[0] != "ValidatingWebhookConfiguration" {
		t.Errorf("%s is removed before the webhooks that fail closed", removed[0])
	}
}
