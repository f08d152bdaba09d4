package serve

import (
	"bytes"
	"crypto/tls"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestDefaults: the options as they are work in a cluster, whatever the environment holds.
func TestDefaults(t *testing.T) {
	for _, name := range []string{"KUBECONFIG", "HOME", "POD_NAMESPACE", "NAMESPACE"} {
		t.Setenv(name, "/nowhere")
	}
	s, err := NewOptions().validate()
	if err != nil {
		t.Fatal(err)
	}
	if s.BindAddress != ":9443" || s.Namespace == "" || s.Deadline >= 5*time.Second || s.tlsMinVersion != tls.VersionTLS13 {
		t.Errorf("address %q, namespace %q, deadline %s, TLS %s", s.BindAddress, s.Namespace, s.Deadline, tls.VersionName(s.tlsMinVersion))
	}
	for i, r := range policy.Rules() {
		if got := s.rules[i]; got.ID != r.ID || got.Action != r.Action {
			t.Errorf("%s is %s instead of %s", got.ID, got.Action, r.Action)
		}
	}
	for _, namespace := range []string{"kube-system", "istio-system", "istio-operator", "cert-manager", s.Namespace} {
		if !s.excluded.Has(namespace) {
			t.Errorf("%s is not left alone", namespace)
		}
	}
}

// TestDefaultsHoldNoState: two sets of options share nothing.
func TestDefaultsHoldNoState(t *testing.T) {
	o := NewOptions()
	o.Overridable[0], o.ExcludeNamespaces[0] = "changed", "changed"
	if got := NewOptions(); got.Overridable[0] != "MW207" || got.ExcludeNamespaces[0] != "istio-system" {
		t.Errorf("the defaults are %v and %v", got.Overridable, got.ExcludeNamespaces)
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		reason string
		args   []string
		// faults are the beginnings of the lines of the error, in their order.
		faults []string
	}{
		{"every option at once", []string{
			"--bind-address=9443", "--health-address=nowhere", "--metrics-address=:port", "--enforcement=block", "--backfill=some",
			"--rule-action=MW101=block,MW999=warn,MW998=warn", "--overridable=MW207,MW997", "--cluster-domain=Cluster.Local",
			"--istio-namespace=", "--root-namespace=Root", "--default-export-to=.,Shop", "--scope-gateways=maybe",
			"--deadline=0s", "--drain-delay=-1s", "--cert-dir=", "--certificate-secret=My_Secret", "--generate-certificate",
			"--certificate-lifetime=9s", "--ca-lifetime=17s", "--tls-min-version=1.1", "--client-names=kube-apiserver",
			"--max-requests-in-flight=-1", "--max-request-bytes=0", "--request-timeout=0s", "--log-level=loud", "--log-format=xml",
		}, []string{
			"--bind-address: ", "--health-address: ", "--metrics-address: ", `--enforcement: unknown action "block": use audit, warn or deny`,
			`--rule-action: unknown action "block": use audit, warn or deny`, `--rule-action: no rule "MW998": the rules are MW101, `,
			`--rule-action: no rule "MW999": the rules are MW101, `, `--overridable: no rule "MW997"`, "--backfill: ",
			`--istio-namespace: "" is no name`, "--cluster-domain: ", `--root-namespace: "Root" is no name`, `--default-export-to: "Shop" is no name`,
			"--scope-gateways: must be true, false or auto",
			"--cert-dir: must name a folder", `--certificate-secret: "My_Secret" is no name`, "--certificate-secret: makes a certificate of its own",
			"--certificate-lifetime: must be at least 10s", "--ca-lifetime: must be at least twice --certificate-lifetime",
			"--deadline: must be above zero", "--drain-delay: must not be below zero",
			`--tls-min-version: unknown version "1.1": use 1.3 or 1.2`, "--client-names: needs --client-ca-file", "--max-requests-in-flight: must not be",
			"--max-request-bytes: must be above zero and at most 7340032", "--request-timeout: must be above zero and at most 30s", `--log-format: unknown format "xml": use json or console`,
			`--log-level: unrecognized level: "loud": use debug, info, warn or error`,
		}},
		{"a port that only the system could choose", []string{"--bind-address=:0"}, []string{"--bind-address: the port must not be 0"}},
		{"a port that is none", []string{"--bind-address=:70000"}, []string{"--bind-address: "}},
		{"no address", []string{"--bind-address="}, []string{"--bind-address: "}},
		{"an answer later than any", []string{"--deadline=-1s"}, []string{"--deadline: must be above zero"}},
		{"an answer that nobody waits for", []string{"--deadline=30s"}, []string{"--deadline: must be above zero and below 30s"}},
		{"names that no namespace has", []string{"--namespace=My NS", "--exclude-namespaces=shop, web"}, []string{`--namespace: "My NS" is no name`, `--exclude-namespaces: " web" is no name`}},
		{"health and metrics off, no drain, nothing overridable, nothing excluded", []string{
			"--health-address=0", "--metrics-address=0", "--drain-delay=0s", "--overridable=", "--exclude-namespaces=",
		}, nil},
		{"more than is ever sent, later than anybody waits", []string{"--max-request-bytes=7340033", "--request-timeout=31s"}, []string{"--max-request-bytes: ", "--request-timeout: "}},
		{"older TLS, no limit of requests, some clients", []string{
			"--tls-min-version=1.2", "--max-requests-in-flight=0", "--client-ca-file=/ca.crt", "--client-names=kube-apiserver,admission.example.com",
		}, nil},
		{"a certificate of its own, for a test", []string{"--certificate-secret=meshwarden-certificate", "--certificate-lifetime=10s", "--ca-lifetime=20s"}, nil},
		{"one interface alone, any free port for the metrics", []string{"--bind-address=[::1]:8443", "--metrics-address=127.0.0.1:0"}, nil},
		{"several actions, in one option and in two", []string{"--rule-action=MW101=warn,MW102=audit", "--rule-action=MW207=deny"}, nil},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			_, err := parse(t, tc.args...).validate()
			var lines []string
			if err != nil {
				lines = strings.Split(err.Error(), "\n")
			}
			if !slices.EqualFunc(lines, tc.faults, strings.HasPrefix) {
				t.Errorf("faults:\n%s\ninstead of:\n%s", strings.Join(lines, "\n"), strings.Join(tc.faults, "\n"))
			}
		})
	}
}

// TestValidateActions: how the two options on actions meet.
func TestValidateActions(t *testing.T) {
	s, err := parse(t, "--enforcement=warn", "--rule-action=MW101=audit,MW102=deny").validate()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]policy.Action{}
	for _, r := range s.rules {
		got[r.ID] = r.Action
	}
	want := map[string]policy.Action{"MW101": policy.Audit, "MW102": policy.Warn, "MW207": policy.Warn}
	for id, action := range want {
		if got[id] != action {
			t.Errorf("%s is %s instead of %s", id, got[id], action)
		}
	}
}

// TestMeshSettings: what is not given is left to be read.
func TestMeshSettings(t *testing.T) {
	yes, no := true, false
	tests := []struct {
		reason string
		args   []string
		want   istio.MeshSettings
	}{
		{"nothing given", nil, istio.MeshSettings{}},
		{"nothing given in so many words", []string{"--cluster-domain=", "--default-export-to=", "--scope-gateways=auto", "--root-namespace="}, istio.MeshSettings{}},
		{"a domain", []string{"--cluster-domain=k8s.example.com"}, istio.MeshSettings{ClusterDomain: "k8s.example.com"}},
		{"the own namespace and another one", []string{"--default-export-to=.,edge"}, istio.MeshSettings{DefaultExportTo: []string{".", "edge"}}},
		{"every namespace, whatever the mesh says", []string{"--default-export-to=*"}, istio.MeshSettings{DefaultExportTo: []string{"*"}}},
		{"scoped", []string{"--scope-gateways=true"}, istio.MeshSettings{ScopeGateways: &yes}},
		{"not scoped, whatever istiod is told", []string{"--scope-gateways=false"}, istio.MeshSettings{ScopeGateways: &no}},
		{"a root namespace", []string{"--root-namespace=istio-config"}, istio.MeshSettings{RootNamespace: "istio-config"}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			s, err := parse(t, tc.args...).validate()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, s.mesh, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
			if s.IstioNamespace != "istio-system" {
				t.Errorf("they are read in %q", s.IstioNamespace)
			}
		})
	}
}

// TestHelp: each option stands once, in its section, with what it means and its default.
func TestHelp(t *testing.T) {
	help := output(t, "--help")
	var names []string
	for _, s := range NewOptions().sections() {
		names = append(names, s.name)
		_, section, ok := strings.Cut(help, "\n"+s.name+":\n")
		section, _, _ = strings.Cut(section, "\n\n")
		if !ok {
			t.Errorf("there is no section %s in:\n%s", s.name, help)
		}
		s.flags.VisitAll(func(f *pflag.Flag) {
			_, usage := pflag.UnquoteUsage(f)
			line := "\n      --" + f.Name + " "
			if strings.Count(help, line) != 1 || !strings.Contains("\n"+section, line) || !strings.Contains(section, usage) || usage == "" {
				t.Errorf("--%s is not explained in section %s:\n%s", f.Name, s.name, section)
			}
			if f.Value.Type() == "string" && f.DefValue != "" && !strings.Contains(section, `(default "`+f.DefValue+`")`) {
				t.Errorf("the default of --%s is missing", f.Name)
			}
		})
	}
	if diff := cmp.Diff([]string{"Serving", "Certificate", "Connections", "Enforcement", "Onboarding", "Mesh", "Cluster", "Logging"}, names); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
	if !strings.Contains(help, "Usage:\n  serve [options]\n") || !strings.HasPrefix(help, "Answer admission requests") {
		t.Errorf("help begins with:\n%.300s", help)
	}
}

// TestCommandRefuses: a fault stops the command before it looks for a cluster.
func TestCommandRefuses(t *testing.T) {
	tests := []struct {
		reason string
		args   []string
		says   string
	}{
		{"faulty options", []string{"--enforcement=block", "--log-level=loud"}, "--log-level"},
		{"an option that does not exist", []string{"--enforce=deny"}, "unknown flag: --enforce"},
		{"an argument", []string{"now"}, "unknown command"},
		{"a map that is none", []string{"--rule-action=MW101"}, "must be formatted as key=value"},
		{"no cluster", []string{"--kubeconfig=" + t.TempDir() + "/none"}, "cannot find the API server; outside a cluster, give --kubeconfig"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			c := NewCommand()
			c.SetArgs(tc.args)
			c.SetOut(&bytes.Buffer{})
			c.SetErr(&bytes.Buffer{})
			if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("the command returns %v", err)
			}
		})
	}
}

// parse returns the options that the arguments give.
func parse(t *testing.T, args ...string) *Options {
	t.Helper()
	o := NewOptions()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	for _, s := range o.sections() {
		flags.AddFlagSet(s.flags)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

// output returns what the command prints.
func output(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	c := NewCommand()
	c.SetArgs(args)
	c.SetOut(&out)
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
