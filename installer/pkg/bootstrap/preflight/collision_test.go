package preflight

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// found returns a stored object, given as NAMESPACE/NAME, with more metadata in YAML.
func found(kind, name, metadata string) *unstructured.Unstructured {
	o := object("{metadata: {" + metadata + "}}")
	groups := map[string]string{
		"Deployment": "apps", "CustomResourceDefinition": "apiextensions.k8s.io", "ValidatingWebhookConfiguration": "admissionregistration.k8s.io",
		"ClusterRole": "rbac.authorization.k8s.io",
	}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: groups[kind], Version: "v1", Kind: kind})
	if namespace, rest, namespaced := strings.Cut(name, "/"); namespaced {
		o.SetNamespace(namespace)
		name = rest
	}
	o.SetName(name)
	return o
}

// istiod returns a stored Deployment with such metadata.
func istiod(metadata string) *unstructured.Unstructured {
	return found("Deployment", "istio-system/istiod", metadata)
}

// labelled is metadata as istioctl and the operator leave them.
func labelled(name, namespace string) string {
	return `labels: {app.kubernetes.io/managed-by: Helm, install.operator.istio.io/owning-resource: ` + name + `, install.operator.istio.io/owning-resource-namespace: ` + namespace + `}`
}

// released is metadata as Helm leaves them; more are annotations.
func released(release, more string) string {
	return `labels: {install.operator.istio.io/owning-resource: unknown}, annotations: {meta.helm.sh/release-name: ` + release + `, meta.helm.sh/release-namespace: istio-system` + more + `}`
}

func TestInstallations(t *testing.T) {
	const (
		gateways, sidecars = "gateways.networking.istio.io", "sidecars.networking.istio.io"
		kept               = ", helm.sh/resource-policy: keep"
		kustomization      = "labels: {kustomize.toolkit.fluxcd.io/name: mesh, kustomize.toolkit.fluxcd.io/namespace: flux-system}"
	)
	crd := func(name, metadata string) *unstructured.Unstructured {
		return found("CustomResourceDefinition", name, metadata)
	}
	base := found("ValidatingWebhookConfiguration", "istiod-default-validator", released("istio-base", ""))
	target := target(t, "default")

	for name, c := range map[string]struct {
		reason string
		given  snapshot
		want   []Finding
		notes  []Finding
	}{
		"Nothing": {reason: "the first run"},
		"Own": {
			reason: "the second run",
			given:  snapshot{existing: []*unstructured.Unstructured{istiod(labelled("istiocontrolplane", "istio-system")), crd(gateways, labelled("istiocontrolplane", "istio-system"))}},
		},
		"Shared": {
			reason: "another living IstioOperator that the operator watches",
			given: snapshot{
				existing:       []*unstructured.Unstructured{istiod(labelled("canary", "team"))},
				istioOperators: []*unstructured.Unstructured{istioOperator("team", "canary", false)},
			},
		},
		"Unknown": {
			reason: "an IstioOperator can have the name that means nobody in the charts",
			given: snapshot{
				existing:       []*unstructured.Unstructured{istiod(labelled("unknown", "team"))},
				istioOperators: []*unstructured.Unstructured{istioOperator("team", "unknown", false)},
			},
		},
		"Left": {
			reason: "the operator takes over what an IstioOperator left that was removed",
			given: snapshot{
				existing:       []*unstructured.Unstructured{istiod(labelled("before", "istio-system"))},
				istioOperators: []*unstructured.Unstructured{istioOperator("istio-system", "istiocontrolplane", true)},
			},
		},
		"AnotherOperator": {
			reason: "another operator's, and be it a CRD alone: both would write it",
			given: snapshot{
				existing:       []*unstructured.Unstructured{crd(gateways, labelled("other", "elsewhere"))},
				istioOperators: []*unstructured.Unstructured{istioOperator("elsewhere", "other", false)},
			},
			want: []Finding{{
				"Istio is installed here already, by IstioOperator elsewhere/other: CustomResourceDefinition gateways.networking.istio.io",
				"add elsewhere to namespaces.watched, or delete that IstioOperator",
			}},
		},
		"Istioctl": {
			reason: "an owner that does not live; what matters most is named",
			given: snapshot{existing: []*unstructured.Unstructured{
				crd(gateways, labelled("installed-state", "istio-system")),
				found("ServiceAccount", "istio-system/istiod", labelled("installed-state", "istio-system")), istiod(labelled("installed-state", "istio-system")),
			}},
			want: []Finding{{
				"Istio is installed here already, by istioctl (istio-system/installed-state): Deployment istio-system/istiod and 2 more",
				"to take it over, begin namespaces.watched with istio-system and set istio_spec.name to installed-state; or remove it: istioctl uninstall --purge",
			}},
		},
		"IstioctlPurged": {
			reason: "istioctl leaves the CRDs, which the operator takes over",
			given:  snapshot{existing: []*unstructured.Unstructured{crd(gateways, labelled("installed-state", "istio-system"))}},
		},
		"IstioctlPurgedElsewhere": {
			reason: "the operator would leave alone what seems to be of a namespace that it does not watch",
			given:  snapshot{existing: []*unstructured.Unstructured{crd(gateways, labelled("mesh", "elsewhere")), crd(sidecars, labelled("mesh", "elsewhere"))}},
			want: []Finding{{
				"Istio is installed here already, by istioctl (elsewhere/mesh): CustomResourceDefinition gateways.networking.istio.io and 1 more",
				"if that is gone, take its marks off: kubectl label crd gateways.networking.istio.io sidecars.networking.istio.io install.operator.istio.io/owning-resource- install.operator.istio.io/owning-resource-namespace-",
			}},
		},
		"Helm": {
			reason: "each release is an owner; its label is on what others render, too",
			given: snapshot{existing: []*unstructured.Unstructured{
				istiod(released("istiod", "")), found("Deployment", "istio-system/istio-ingressgateway", released("gateway", "")), found("ConfigMap", "istio-system/istio", released("istiod", "")),
			}},
			want: []Finding{
				{"Istio is installed here already, by Helm (release istio-system/istiod): Deployment istio-system/istiod and 1 more", "helm uninstall -n istio-system istiod"},
				{"Istio is installed here already, by Helm (release istio-system/gateway): Deployment istio-system/istio-ingressgateway", "helm uninstall -n istio-system gateway"},
			},
		},
		"HelmClusterRole": {
			reason: "whatever the kind; a release that has only such things may be there for more than Istio",
			given:  snapshot{existing: []*unstructured.Unstructured{found("ClusterRole", "istio-reader-clusterrole-istio-system", released("platform", ""))}},
			want: []Finding{{
				"Istio is installed here already, by Helm (release istio-system/platform): ClusterRole istio-reader-clusterrole-istio-system",
				"take that out of the release, or uninstall it: helm uninstall -n istio-system platform",
			}},
		},
		"HelmBase": {
			reason: "its CRDs stay when it is uninstalled, as Istio's chart says; they still bear the marks then",
			given:  snapshot{existing: []*unstructured.Unstructured{crd(gateways, released("istio-base", kept)), base}},
			want: []Finding{{
				"Istio is installed here already, by Helm (release istio-system/istio-base): ValidatingWebhookConfiguration istiod-default-validator and 1 more",
				"helm uninstall -n istio-system istio-base",
			}},
			notes: []Finding{{
				"left by Helm (release istio-system/istio-base), or to be left when it is uninstalled, and taken over: CustomResourceDefinition gateways.networking.istio.io",
				"if there is such a release still, its next upgrade would change that again: helm uninstall -n istio-system istio-base; then take its marks off: kubectl annotate crd gateways.networking.istio.io meta.helm.sh/release-name- meta.helm.sh/release-namespace-",
			}},
		},
		"HelmBaseUninstalled": {
			reason: "whoever did as the finding says must not find another",
			given:  snapshot{existing: []*unstructured.Unstructured{crd(gateways, released("istio-base", kept)), crd(sidecars, released("istio-base", kept))}},
			notes: []Finding{{
				"left by Helm (release istio-system/istio-base), or to be left when it is uninstalled, and taken over: CustomResourceDefinition gateways.networking.istio.io and 1 more",
				"if there is such a release still, its next upgrade would change that again: helm uninstall -n istio-system istio-base; then take its marks off: kubectl annotate crd gateways.networking.istio.io sidecars.networking.istio.io meta.helm.sh/release-name- meta.helm.sh/release-namespace-",
			}},
		},
		"HelmDeletesCRDs": {
			reason: "a chart of somebody's own: helm uninstall would take every user's object along, so that it must not be the first thing that is said",
			given:  snapshot{existing: []*unstructured.Unstructured{crd(gateways, released("mesh", "")), istiod(released("mesh", ""))}},
			want: []Finding{
				{
					"to uninstall Helm (release istio-system/mesh) would delete CustomResourceDefinition gateways.networking.istio.io, and with that every object of the kind",
					"before you do, have its chart annotate its CRDs with helm.sh/resource-policy: keep, and upgrade it; or, if Helm knows it no more, take its marks off: kubectl annotate crd gateways.networking.istio.io meta.helm.sh/release-name- meta.helm.sh/release-namespace-",
				},
				{
					"Istio is installed here already, by Helm (release istio-system/mesh): Deployment istio-system/istiod and 1 more",
					"helm uninstall -n istio-system mesh, once its CRDs are safe",
				},
			},
		},
		"HelmOperator": {
			reason: "the bootstrap's own objects may be another's, too: with their CRD, all IstioOperators would go",
			given:  snapshot{existing: []*unstructured.Unstructured{found("Role", "istio-system/istio-operator", released("istio-operator", ""))}},
			want: []Finding{{
				"Istio is installed here already, by Helm (release istio-system/istio-operator): Role istio-system/istio-operator",
				"take that out of the release, or uninstall it: helm uninstall -n istio-system istio-operator",
			}},
		},
		"Sail": {
			reason: "Sail uses Helm's library, so its objects bear both",
			given: snapshot{existing: []*unstructured.Unstructured{found("ConfigMap", "istio-system/istio",
				`ownerReferences: [{apiVersion: sailoperator.io/v1, kind: IstioRevision, name: default, uid: u}], annotations: {meta.helm.sh/release-name: default-istiod}`)}},
			want: []Finding{{
				"Istio is installed here already, by Sail (IstioRevision default): ConfigMap istio-system/istio", "delete the Istio object that Sail installed it for",
			}},
		},
		"Manifests": {
			reason: "istioctl manifest generate, applied by hand; whose the CRDs are is another matter",
			given: snapshot{existing: []*unstructured.Unstructured{
				crd(gateways, ""), found("ServiceAccount", "istio-system/istiod", ""), istiod(`labels: {install.operator.istio.io/owning-resource: unknown}`),
			}},
			want: []Finding{{
				"Istio is installed here already, by somebody who left no trace: Deployment istio-system/istiod and 1 more", "remove it the way it was installed",
			}},
		},
		"CRDsByHand": {
			reason: "Meshwarden's webhook is there before Istio, and with it the CRDs",
			given:  snapshot{existing: []*unstructured.Unstructured{crd(gateways, "annotations: {helm.sh/resource-policy: keep}")}},
		},
		"ByHand": {
			reason: "a ServiceAccount with annotations of a cloud, a Service that keeps its address: worth a word, and no installation",
			given: snapshot{existing: []*unstructured.Unstructured{
				found("ServiceAccount", "istio-system/istiod", ""), found("Service", "istio-system/istio-ingressgateway", "labels: {install.operator.istio.io/owning-resource: unknown}"),
			}},
			notes: []Finding{{
				"there already, by somebody who left no trace, and taken over: ServiceAccount istio-system/istiod and 1 more",
				"what Istio's charts set is overwritten, and all of it is removed with the control plane; --dry-run shows the difference",
			}},
		},
		"FluxKustomization": {
			reason: "it would put back what is deleted; each workload and each webhook configuration has to go, so each is named",
			given: snapshot{existing: []*unstructured.Unstructured{
				found("ServiceAccount", "istio-system/istiod", kustomization), istiod(kustomization), crd(gateways, kustomization),
				found("ValidatingWebhookConfiguration", "istiod-default-validator", kustomization),
			}},
			want: []Finding{{
				"Istio is installed here already, by Flux (Kustomization flux-system/mesh): Deployment istio-system/istiod, ValidatingWebhookConfiguration istiod-default-validator and 1 more",
				"take that out of the Kustomization flux-system/mesh: what is deleted by hand comes back; have its CRDs annotated with kustomize.toolkit.fluxcd.io/prune: disabled before, or every object of the kind may go with them",
			}},
			notes: []Finding{{
				"applied by Flux (Kustomization flux-system/mesh), and taken over: CustomResourceDefinition gateways.networking.istio.io",
				"where the two differ, each puts its own back: have them annotated with kustomize.toolkit.fluxcd.io/prune: disabled, or every object of the kind may go with them, and then taken out of there",
			}},
		},
		"FluxManifests": {
			reason: "what istioctl generated is installed by who applies it",
			given: snapshot{existing: []*unstructured.Unstructured{istiod(
				`labels: {install.operator.istio.io/owning-resource: mesh, install.operator.istio.io/owning-resource-namespace: istio-system, kustomize.toolkit.fluxcd.io/name: mesh, kustomize.toolkit.fluxcd.io/namespace: flux-system}`)}},
			want: []Finding{{
				"Istio is installed here already, by Flux (Kustomization flux-system/mesh): Deployment istio-system/istiod",
				"take that out of the Kustomization flux-system/mesh: what is deleted by hand comes back",
			}},
		},
		"FluxHelmRelease": {
			reason: "Helm's release is Flux's, too",
			given: snapshot{existing: []*unstructured.Unstructured{istiod(
				`labels: {helm.toolkit.fluxcd.io/name: istiod, helm.toolkit.fluxcd.io/namespace: flux-system}, annotations: {meta.helm.sh/release-name: istiod, meta.helm.sh/release-namespace: istio-system}`)}},
			want: []Finding{{
				"Istio is installed here already, by Flux (HelmRelease flux-system/istiod): Deployment istio-system/istiod",
				"remove the HelmRelease flux-system/istiod from what Flux applies: what is deleted by hand comes back",
			}},
		},
		"ArgoCD": {
			reason: "by annotation or by label, as it is set up; what is no workload is put back as well",
			given: snapshot{existing: []*unstructured.Unstructured{
				istiod(`annotations: {argocd.argoproj.io/tracking-id: "mesh:apps/Deployment:istio-system/istiod"}`),
				found("ConfigMap", "istio-system/istio", "labels: {argocd.argoproj.io/instance: settings}"),
			}},
			want: []Finding{
				{
					"Istio is installed here already, by Argo CD (application mesh): Deployment istio-system/istiod",
					"take that out of the application mesh: what is deleted by hand comes back",
				},
				{
					"Istio is installed here already, by Argo CD (application settings): ConfigMap istio-system/istio",
					"take that out of the application settings: what is deleted by hand comes back",
				},
			},
		},
		"ArgoCDCRDs": {
			reason: "CRDs alone are no installation",
			given:  snapshot{existing: []*unstructured.Unstructured{crd(gateways, `labels: {argocd.argoproj.io/instance: crds}`)}},
			notes: []Finding{{
				"applied by Argo CD (application crds), and taken over: CustomResourceDefinition gateways.networking.istio.io",
				"where the two differ, each puts its own back: have them annotated with argocd.argoproj.io/sync-options: Prune=false, or every object of the kind may go with them, and then taken out of there",
			}},
		},
		"FluxBootstrap": {
			reason: "whoever deploys the bootstrap may have a tool that labels all it deploys; what the operator has made its own stays its own",
			given: snapshot{existing: []*unstructured.Unstructured{
				found("Role", "istio-system/istio-operator", kustomization), found("Deployment", "istio-operator/istio-operator", kustomization),
				istiod(`labels: {kustomize.toolkit.fluxcd.io/name: mesh, install.operator.istio.io/owning-resource: istiocontrolplane, install.operator.istio.io/owning-resource-namespace: istio-system}`),
			}},
		},
		"OldOperatorsRole": {
			reason: "Istio's old operator leaves such behind, without a mark, where ours is to be",
			given:  snapshot{existing: []*unstructured.Unstructured{found("Role", "istio-system/istio-operator", "")}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, installations(target, c.given)); diff != "" {
				t.Errorf("%s: findings (-want +got):\n%s", c.reason, diff)
			}
			if diff := cmp.Diff(c.notes, takenOver(target, c.given)); diff != "" {
				t.Errorf("%s: notes (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}
