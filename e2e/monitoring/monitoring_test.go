package monitoring

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

const root = "../.."

// TestAlerts plays series to Prometheus' engine and looks whether the alert's expression yields anything at the end of them.
func TestAlerts(t *testing.T) {
	const both, one, none = `meshwarden_ready{job="meshwarden-metrics",instance="a"} 1x60
meshwarden_ready{job="meshwarden-metrics",instance="b"} 1x60`, `meshwarden_ready{job="meshwarden-metrics",instance="a"} 1x60
meshwarden_ready{job="meshwarden-metrics",instance="b"} 0x60`, `meshwarden_ready{job="meshwarden-metrics",instance="a"} 0x60
up{job="meshwarden-metrics",instance="a"} 1x60`
	requests := func(outcome, values string) string {
		return fmt.Sprintf(`meshwarden_admission_requests_total{job="meshwarden-metrics",kind="Gateway",outcome=%q} %s`, outcome, values)
	}
	buckets := func(metric, fast, all string) string {
		return fmt.Sprintf("%[1]s_bucket{job=\"meshwarden-metrics\",kind=\"Gateway\",le=\"0.1\"} %[2]s\n"+
			"%[1]s_bucket{job=\"meshwarden-metrics\",kind=\"Gateway\",le=\"10\"} %[3]s\n%[1]s_bucket{job=\"meshwarden-metrics\",kind=\"Gateway\",le=\"+Inf\"} %[3]s", metric, fast, all)
	}
	tests := []struct {
		alert, reason, series string
		fires                 bool
	}{
		{"MeshwardenDown", "two replicas are ready", both, false},
		{"MeshwardenDown", "one of two is ready", one, false},
		{"MeshwardenDown", "the one that is known answers, but is not ready", none, true},
		{"MeshwardenDown", "nobody is known any more", `up{job="another"} 1x60`, true},
		{"MeshwardenOneReplica", "two replicas are ready", both, false},
		{"MeshwardenOneReplica", "one of two is ready", one, true},
		{"MeshwardenNotSynced", "all is read", `meshwarden_model_synced{job="meshwarden-metrics",kind="Gateway"} 1x60`, false},
		{"MeshwardenNotSynced", "one kind is not", `meshwarden_model_synced{job="meshwarden-metrics",kind="Gateway"} 0x60
meshwarden_model_synced{job="meshwarden-metrics",kind="Service"} 1x60`, true},
		{"MeshwardenErrors", "requests are denied, which is no error", requests("denied", "0+10x60"), false},
		{"MeshwardenErrors", "errors of long ago", requests("error", "0+10x30 300x30"), false},
		{"MeshwardenErrors", "errors now", requests("error", "0+1x60"), true},
		{"MeshwardenCallsFail", "another webhook cannot be called", `apiserver_admission_webhook_rejection_count{name="policy.example.com",error_type="calling_webhook_error"} 0+1x60`, false},
		{"MeshwardenCallsFail", "Meshwarden denies", `apiserver_admission_webhook_rejection_count{name="gateway.meshwarden.io",error_type="no_error"} 0+1x60`, false},
		{"MeshwardenCallsFail", "a call fails closed", `apiserver_admission_webhook_rejection_count{name="gateway.meshwarden.io",error_type="calling_webhook_error"} 0+1x60`, true},
		{"MeshwardenCallsFail", "a call fails open", `apiserver_admission_webhook_fail_open_count{name="namespace.meshwarden.io"} 0+1x60`, true},
		{"MeshwardenOverloaded", "nobody was turned away", `meshwarden_requests_rejected_total{job="meshwarden-metrics",reason="too_many"} 0x60`, false},
		{"MeshwardenOverloaded", "some are", `meshwarden_requests_rejected_total{job="meshwarden-metrics",reason="too_many"} 0+1x60`, true},
		{"MeshwardenSlow", "all are fast", buckets("meshwarden_admission_duration_seconds", "0+100x60", "0+100x60"), false},
		{"MeshwardenSlow", "one in ten is not", buckets("meshwarden_admission_duration_seconds", "0+90x60", "0+100x60"), true},
		{"MeshwardenModelLags", "all arrive at once", buckets("meshwarden_model_lag_seconds", "0+100x60", "0+100x60"), false},
		{"MeshwardenModelLags", "half of them don't", buckets("meshwarden_model_lag_seconds", "0+50x60", "0+100x60"), true},
		// The engine's time begins at 0 seconds, so the value is the time left and an hour more.
		{"MeshwardenCertificateExpires", "thirty days are left", `meshwarden_certificate_expiry_timestamp_seconds{job="meshwarden-metrics",certificate="serving"} 2595600x60`, false},
		{"MeshwardenCertificateExpires", "nine days are left on one replica", `meshwarden_certificate_expiry_timestamp_seconds{job="meshwarden-metrics",instance="a",certificate="serving"} 2595600x60
meshwarden_certificate_expiry_timestamp_seconds{job="meshwarden-metrics",instance="b",certificate="serving"} 781200x60`, true},
		{"MeshwardenOnboardingFails", "policies are made", `meshwarden_onboarding_total{job="meshwarden-metrics",outcome="policy_created"} 0+1x60`, false},
		{"MeshwardenOnboardingFails", "writes fail", `meshwarden_onboarding_total{job="meshwarden-metrics",outcome="error"} 0+1x60`, true},
		{"MeshwardenUnreadableObjects", "none", `meshwarden_unparsable_objects{job="meshwarden-metrics",kind="Gateway"} 0x60`, false},
		{"MeshwardenUnreadableObjects", "one", `meshwarden_unparsable_objects{job="meshwarden-metrics",kind="Gateway"} 1x60`, true},
		{"MeshwardenStoredFindings", "warnings alone", `meshwarden_stored_findings{job="meshwarden-metrics",rule="MW206",action="warn"} 3x60`, false},
		{"MeshwardenStoredFindings", "a denial", `meshwarden_stored_findings{job="meshwarden-metrics",rule="MW101",action="deny"} 1x60`, true},
		{"MeshwardenOverridden", "never", `meshwarden_overrides_total{job="meshwarden-metrics",rule="MW207"} 2x60`, false},
		{"MeshwardenOverridden", "once within the hour", `meshwarden_overrides_total{job="meshwarden-metrics",rule="MW207"} 2x40 3x20`, true},
		{"IstioOperatorDown", "one of two that stand by for each other is gone", `up{job="istio-operator",pod="a"} 0x60
up{job="istio-operator",pod="b"} 1x60`, false},
		{"IstioOperatorDown", "the one that is known does not answer", `up{job="istio-operator",pod="a"} 0x60`, true},
		{"IstioOperatorDown", "nobody is known", `up{job="meshwarden-metrics"} 1x60`, true},
		{"IstioOperatorUnhealthy", "it is healthy", `meshwarden_istio_operator_healthy{job="istio-operator",namespace="istio-system",name="main"} 1x60`, false},
		{"IstioOperatorUnhealthy", "one of two is not", `meshwarden_istio_operator_healthy{job="istio-operator",namespace="istio-system",name="main"} 1x60
meshwarden_istio_operator_healthy{job="istio-operator",namespace="istio-system",name="canary"} 0x60`, true},
		{"IstioOperatorDrift", "somebody changed much, and has let it be since", `meshwarden_istio_operator_repaired_objects_total{job="istio-operator",namespace="istio-system",name="main"} 0x20 40x40`, false},
		{"IstioOperatorDrift", "somebody insists", `meshwarden_istio_operator_repaired_objects_total{job="istio-operator",namespace="istio-system",name="main"} 0+1x60`, true},
		{"IstioBootstrapFailed", "it runs, or is complete", `kube_job_failed{namespace="meshwarden-bootstrap",job_name="bootstrap",condition="true"} 0x60
kube_job_failed{namespace="meshwarden-bootstrap",job_name="bootstrap",condition="false"} 1x60`, false},
		{"IstioBootstrapFailed", "a Job of somebody else's", `kube_job_failed{namespace="shop",job_name="bootstrap",condition="true"} 1x60`, false},
		{"IstioBootstrapFailed", "every attempt has failed", `kube_job_failed{namespace="meshwarden-bootstrap",job_name="bootstrap",condition="true"} 1x60`, true},
	}
	alerts := map[string]string{}
	for _, p := range pages() {
		maps.Copy(alerts, p.alerts(t))
	}
	tried := map[string][2]bool{}
	engine := promqltest.NewTestEngine(t, false, 0, 100000)
	for _, tc := range tests {
		t.Run(tc.alert+": "+tc.reason, func(t *testing.T) {
			expression, ok := alerts[tc.alert]
			if !ok {
				t.Fatal("there is no such alert")
			}
			script := "load 1m\n  " + strings.ReplaceAll(tc.series, "\n", "\n  ") +
				"\n\neval instant at 60m (count(" + strings.Join(strings.Fields(expression), " ") + ") > bool 0) or vector(0)\n  {} " + map[bool]string{true: "1", false: "0"}[tc.fires] + "\n"
			promqltest.RunTest(t, script, engine)
		})
		both := tried[tc.alert]
		both[map[bool]int{true: 1}[tc.fires]] = true
		tried[tc.alert] = both
	}
	for name := range alerts {
		if tried[name] != [2]bool{true, true} {
			t.Errorf("%s lacks a case in which it fires, or one in which it does not", name)
		}
	}
}

// TestAlertsAreExplained: the page says for each alert what to do, and for none that is gone.
func TestAlertsAreExplained(t *testing.T) {
	for _, p := range pages() {
		page, alerts := read(t, p.page), p.alerts(t)
		for name := range alerts {
			if !strings.Contains(page, "\n### "+name+"\n") {
				t.Errorf("%s has no section %q", p.page, "### "+name)
			}
		}
		for _, heading := range regexp.MustCompile(`(?m)^### ((?:Meshwarden|Istio)[A-Z]\w+)$`).FindAllStringSubmatch(page, -1) {
			if _, ok := alerts[heading[1]]; !ok {
				t.Errorf("%s explains %s, which is no alert of %s", p.page, heading[1], p.rules)
			}
		}
	}
}

// TestMetricsExist: every metric of Meshwarden's that an alert or a panel asks for is one that its code names.
func TestMetricsExist(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "manifests/monitoring/dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	expressions := map[string]string{}
	for _, p := range pages() {
		maps.Copy(expressions, p.alerts(t))
	}
	for _, p := range dashboard.Panels {
		for i, target := range p.Targets {
			expressions[fmt.Sprintf("panel %q, query %d", p.Title, i)] = target.Expr
		}
	}
	known := metrics(t)
	asked := map[string]bool{}
	for where, text := range expressions {
		expression, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		for _, selectors := range parser.ExtractSelectors(expression) {
			for _, matcher := range selectors {
				name := strings.TrimSuffix(matcher.Value, "_bucket")
				if matcher.Name != model.MetricNameLabel || !strings.HasPrefix(name, "meshwarden_") {
					continue
				}
				asked[name] = true
				if !slices.Contains(known, name) {
					t.Errorf("%s asks for %s, which no code has", where, matcher.Value)
				}
			}
		}
	}
	for _, name := range known {
		if !asked[name] {
			t.Errorf("neither an alert nor a panel shows %s", name)
		}
	}
}

// TestServiceMonitor: fields that the Prometheus operator's types don't have are typing errors.
func TestServiceMonitor(t *testing.T) {
	var monitor monitoringv1.ServiceMonitor
	if err := yaml.UnmarshalStrict([]byte(read(t, "manifests/monitoring/servicemonitor.yaml")), &monitor); err != nil {
		t.Error(err)
	}
	if len(monitor.Spec.Endpoints) != 1 {
		t.Errorf("the ServiceMonitor has endpoints %v", monitor.Spec.Endpoints)
	}
}

// TestPodMonitor: it selects the pods of the operator's Deployment, and asks at a port that they have.
func TestPodMonitor(t *testing.T) {
	var monitor monitoringv1.PodMonitor
	if err := yaml.UnmarshalStrict([]byte(read(t, "manifests/monitoring/operator/podmonitor.yaml")), &monitor); err != nil {
		t.Fatal(err)
	}
	var deployment appsv1.Deployment
	if err := yaml.UnmarshalStrict([]byte(read(t, "installer/pkg/installation/manifests/deployment.yaml")), &deployment); err != nil {
		t.Fatal(err)
	}
	pods := deployment.Spec.Template
	selector, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	if !selector.Matches(labels.Set(pods.Labels)) || monitor.Namespace != deployment.Namespace {
		t.Errorf("the PodMonitor selects %s in namespace %s, the pods have %v in %s", selector, monitor.Namespace, pods.Labels, deployment.Namespace)
	}
	if job := pods.Labels[monitor.Spec.JobLabel]; job != "istio-operator" {
		t.Errorf("the job is %q; alerts and panels ask for istio-operator", job)
	}
	var named []string
	for _, p := range pods.Spec.Containers[0].Ports {
		named = append(named, p.Name)
	}
	for _, e := range monitor.Spec.PodMetricsEndpoints {
		if e.Port == nil || !slices.Contains(named, *e.Port) || !e.HonorLabels {
			t.Errorf("an endpoint at port %v, honorLabels %v; the pods have %v", e.Port, e.HonorLabels, named)
		}
	}
	if len(monitor.Spec.PodMetricsEndpoints) != 1 {
		t.Errorf("the PodMonitor has endpoints %v", monitor.Spec.PodMetricsEndpoints)
	}
}

// page is a file of alerts, and the page that says what to do about them.
type page struct{ rules, page string }

func pages() []page {
	return []page{
		{"manifests/monitoring/prometheusrule.yaml", "docs/operations.md"},
		{"manifests/monitoring/operator/prometheusrule.yaml", "docs/bootstrap.md"},
	}
}

// alerts returns the expression of each alert, all of which Prometheus itself has checked.
func (p page) alerts(t *testing.T) map[string]string {
	t.Helper()
	var rule monitoringv1.PrometheusRule
	if err := yaml.UnmarshalStrict([]byte(read(t, p.rules)), &rule); err != nil {
		t.Fatal(err)
	}
	groups, err := yaml.Marshal(rule.Spec)
	if err != nil {
		t.Fatal(err)
	}
	parsed, errs := rulefmt.Parse(groups, false, model.UTF8Validation, parser.NewParser(parser.Options{}))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	found := map[string]string{}
	for _, g := range parsed.Groups {
		for _, r := range g.Rules {
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s lacks a severity, a summary or a description", r.Alert)
			}
			found[r.Alert] = r.Expr
		}
	}
	return found
}

// metrics returns the names of the metrics that the code defines.
func metrics(t *testing.T) []string {
	t.Helper()
	name := regexp.MustCompile(`"(meshwarden_[a-z_]+)"`)
	var names []string
	for _, folder := range []string{"pkg", "cmd", "installer"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			for _, match := range name.FindAllStringSubmatch(string(content), -1) {
				names = append(names, match[1])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
