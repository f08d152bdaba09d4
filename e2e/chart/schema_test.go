package chart

import (
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
)

// TestLint demands more than `helm lint --strict`: the linter's one hint, for an icon, is the only thing it may say.
func TestLint(t *testing.T) {
	version, err := common.ParseKubeVersion(oldest)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ reason, values string }{
		{"the default", ""},
		{"everything", `{
			image: {tag: v0.2.0, pullPolicy: Always}, imagePullSecrets: [{name: registry}], certificate: {mode: self-managed}, clientCA: {configMap: ca, names: [a]}, enforcement: warn,
			ruleActions: {MW207: warn}, overridable: [], backfill: all, excludeNamespaces: [], istio: {namespace: mesh, revisions: true}, readSecrets: true,
			staticChecks: {enabled: true, forbidWildcards: true}, extraArgs: [--log-level=debug], podLabels: {a: b}, podAnnotations: {a: b}, nodeSelector: {a: b}, tolerations: [{key: a}],
			affinity: {nodeAffinity: {}}, priorityClass: {create: false, name: platform}, monitoring: {serviceMonitor: true, rules: true, dashboard: true, labels: {a: b}}}`},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			lint := action.NewLint()
			lint.Strict, lint.Namespace, lint.KubeVersion = true, "meshwarden", version
			result := lint.Run([]string{folder}, parse(t, tc.values))
			for _, err := range result.Errors {
				t.Error(err)
			}
			for _, m := range result.Messages {
				if m.Severity > support.InfoSev || !strings.Contains(m.Err.Error(), "icon is recommended") {
					t.Error(m)
				}
			}
			if result.TotalChartsLinted != 1 {
				t.Errorf("%d charts were linted", result.TotalChartsLinted)
			}
		})
	}
}

// TestSchema tries values that cannot be meant. Helm refuses them before it touches the cluster.
func TestSchema(t *testing.T) {
	for _, tc := range []struct {
		reason, values string
		// want is a part of the error, which has to lead to the value.
		want string
	}{
		{"a value that does not exist", "replicaCount: 3", "replicaCount"},
		{"a value that does not exist, further down", "image: {name: webhook}", "/image"},
		{"a name for the objects", "nameOverride: mesh", "nameOverride"},
		{"no replicas: whoever wants that wants to uninstall", "replicas: 0", "/replicas"},
		{"replicas as text", "replicas: '3'", "/replicas"},
		{"a tag in the repository", "image: {repository: 'meshwarden/webhook:v0.1.0'}", "/image/repository"},
		{"no repository", "image: {repository: ''}", "/image/repository"},
		{"a digest in the tag", "image: {tag: 'v1@sha256:00'}", "/image/tag"},
		{"a short digest", "image: {digest: 'sha256:00'}", "/image/digest"},
		{"an unknown pull policy", "image: {pullPolicy: always}", "/image/pullPolicy"},
		{"a pull secret by its name only", "imagePullSecrets: [registry]", "/imagePullSecrets/0"},
		{"an unknown way to the certificate", "certificate: {mode: vault}", "/certificate/mode"},
		{"an issuer without a name", "certificate: {issuerRef: {kind: ClusterIssuer}}", "/certificate/issuerRef"},
		{"names of clients that nothing vouches for", "clientCA: {names: [kube-apiserver]}", "/clientCA/configMap"},
		{"two names in one", "clientCA: {configMap: ca, names: ['a,b']}", "/clientCA/names/0"},
		{"an unknown action", "enforcement: dryrun", "/enforcement"},
		{"an unknown action of a rule", "ruleActions: {MW207: ignore}", "/ruleActions/MW207"},
		{"a rule by its name", "ruleActions: {hosts-orphaned: warn}", "/ruleActions"},
		{"a rule by its name, in a list", "overridable: [hosts-orphaned]", "/overridable/0"},
		{"a list as text", "overridable: MW207", "/overridable"},
		{"a rule twice", "overridable: [MW207, MW207]", "/overridable"},
		{"an unknown backfill", "backfill: some", "/backfill"},
		{"a pattern of namespaces", "excludeNamespaces: ['kube-*']", "/excludeNamespaces/0"},
		{"Istio's namespace in capitals", "istio: {namespace: Istio}", "/istio/namespace"},
		{"an option without dashes", "extraArgs: [log-level=debug]", "/extraArgs/0"},
		{"a switch as text", "readSecrets: 'false'", "/readSecrets"},
		{"a switch in place of two", "staticChecks: true", "/staticChecks"},
		{"a label that the Service selects by", "podLabels: {app.kubernetes.io/name: mesh}", "/podLabels"},
		{"a label that is no text", "podLabels: {a: 1}", "/podLabels/a"},
		{"nodes without Linux", "nodeSelector: {kubernetes.io/os: windows}", "/nodeSelector"},
		{"a single toleration", "tolerations: {key: a}", "/tolerations"},
		{"an unknown kind of affinity", "affinity: {node: {}}", "/affinity"},
		{"monitoring as a switch", "monitoring: true", "/monitoring"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			_, err := render("meshwarden", parse(t, tc.values))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), "don't meet the specifications of the schema") || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not name the schema and %q", err, tc.want)
			}
		})
	}
}
