package check

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

const gateway = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public}
spec:
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [a.example.com]
---
`

// virtualService binds to the gateway and has the host.
func virtualService(host string) string {
	return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web}\nspec: {hosts: [" + host + "], gateways: [public], http: [{}]}\n"
}

// execute runs the command and returns its exit code and what it prints.
func execute(t *testing.T, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := NewCommand()
	c.SilenceUsage, c.SilenceErrors = true, true
	c.SetArgs(args)
	c.SetIn(strings.NewReader(stdin))
	c.SetOut(&stdout)
	c.SetErr(&stderr)
	err := c.ExecuteContext(t.Context())
	exit := new(ExitError)
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("an error without an exit code: %v", err)
	}
	if err != nil && err.Error() != "" {
		stderr.WriteString(err.Error() + "\n")
	}
	return exit.Code, stdout.String(), stderr.String()
}

func TestExitCode(t *testing.T) {
	good, bad := gateway+virtualService("a.example.com"), gateway+virtualService("b.example.com")
	tests := []struct {
		reason, input string
		args          []string
		code          int
		// out and errs are in what is printed to standard output and error; "" for nothing at all in the second case.
		out, errs string
	}{
		{"nothing found", good, []string{"-"}, 0, "0 deny, 0 warn", ""},
		{"a denial", bad, []string{"-"}, 1, "12: deny MW102", ""},
		{"a warning", bad, []string{"--rule-action=MW102=warn", "-"}, 0, "12: warn MW102", ""},
		{"a warning that is to fail", bad, []string{"--rule-action=MW102=warn", "--fail-on=warn", "-"}, 1, "12: warn MW102", ""},
		{"a denial where warnings fail, too", bad, []string{"--fail-on=warn", "-"}, 1, "12: deny MW102", ""},
		{"an audit", bad, []string{"--rule-action=MW102=audit", "--fail-on=warn", "-"}, 0, "12: audit MW102", ""},
		{"nothing found where warnings fail", good, []string{"--fail-on=warn", "-"}, 0, "0 deny, 0 warn", ""},
		{"a document that cannot be judged", good + "---\na: [\n", []string{"-"}, 2, "0 deny, 0 warn", "error: standard input:14: did not find expected node content\n"},
		{"one beside a denial", bad + "---\na: b\n", []string{"-"}, 2, "12: deny MW102", "error: standard input:14: the object has no kind\n"},
		{"no such file", "", []string{"gone.yaml"}, 2, "0 objects judged", "error: gone.yaml: no such file or directory\n"},
		{"no path", "", nil, 2, "", "name a file, a folder, or - for standard input\n"},
		{"an unknown flag", "", []string{"--fix", "-"}, 2, "", "unknown flag: --fix\n"},
		{"every option wrong at once", "", []string{
			"--output=xml", "--fail-on=audit", "--rule-action=MW102=block", "--namespace=My NS", "--istio-namespace=", "--cluster-domain=A",
			"--default-export-to=.,*,A", "--scope-gateways=maybe", "--root-namespace=A", "-",
		}, 2, "", `--output: unknown format "xml": use text, json, sarif or github
--fail-on: unknown action "audit": use deny or warn
--rule-action: unknown action "block": use audit, warn or deny
--namespace: "My NS" is no name of a namespace: a lowercase`},
		{"a rule that does not exist", "", []string{"--rule-action=MW999=warn", "-"}, 2, "", `--rule-action: no rule "MW999": the rules are MW101, `},
		{"JSON", bad, []string{"--output=json", "-"}, 1, `"rule": "MW102"`, ""},
		{"SARIF", bad, []string{"--output=sarif", "-"}, 1, `"ruleId": "MW102"`, ""},
		{"workflow commands", bad, []string{"--output=github", "-"}, 1, "::error file=-,line=12,title=MW102 host-not-served::", ""},
		{"another namespace", strings.Replace(gateway, "{name", "{namespace: shop, name", 1) + virtualService("b.example.com"), []string{"--namespace=shop", "-"}, 1, "VirtualService shop/web", ""},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			code, out, errs := execute(t, tc.input, tc.args...)
			if code != tc.code || !strings.Contains(out, tc.out) || !strings.HasPrefix(errs, tc.errs) || tc.errs == "" && errs != "" {
				t.Errorf("exit code %d, standard output:\n%s\nstandard error:\n%s", code, out, errs)
			}
		})
	}
}

// TestMeshSettings: what the options say of the mesh goes to the rules, and what they leave open does not.
func TestMeshSettings(t *testing.T) {
	yes, no := true, false
	tests := []struct {
		reason string
		set    func(*options)
		export []string
		scope  *bool
		domain string
	}{
		{"nothing", func(*options) {}, nil, nil, ""},
		{"everything", func(o *options) {
			o.mesh.DefaultExportTo, o.mesh.ScopeGateways, o.mesh.ClusterDomain = []string{".", "shop"}, "true", "corp.example"
		}, []string{".", "shop"}, &yes, "corp.example"},
		{"no scope, whatever istiod says", func(o *options) { o.mesh.ScopeGateways = "false" }, nil, &no, ""},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			o := newOptions()
			tc.set(o)
			s, err := o.validate()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{tc.export, tc.scope, tc.domain}, []any{s.check.Mesh.DefaultExportTo, s.check.Mesh.ScopeGateways, s.check.Mesh.ClusterDomain}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(s.check.Rules) != len(policy.Rules()) {
				t.Errorf("%d rules, want %d", len(s.check.Rules), len(policy.Rules()))
			}
		})
	}
}

// TestNotes: a remark on the input changes nothing.
func TestNotes(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("a.yaml", []byte(gateway), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..", filepath.Join(".", "loop")); err != nil {
		t.Fatal(err)
	}
	code, _, errs := execute(t, "", ".")
	if want := "note: loop: a link to a folder is not followed: name it to have it read\n"; code != 0 || errs != want {
		t.Errorf("exit code %d, standard error %q, want %q", code, errs, want)
	}
}

// TestNoColour: colours are for terminals, and not for those whose user wants none.
func TestNoColour(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	terminal, err := os.Open("/dev/null") // a character device, as terminals are
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if colourful(file) || colourful(&bytes.Buffer{}) || !colourful(terminal) {
		t.Error("colours go to a file, or not to a terminal")
	}
	t.Setenv("NO_COLOR", "1")
	if colourful(terminal) {
		t.Error("colours in spite of NO_COLOR")
	}
}

// TestHelp: help names every option, with what it does.
func TestHelp(t *testing.T) {
	code, out, _ := execute(t, "", "--help")
	for _, option := range []string{
		"output", "fail-on", "rule-action", "namespace", "istio-namespace", "cluster-domain", "default-export-to", "scope-gateways", "root-namespace",
	} {
		if code != 0 || !strings.Contains(out, "--"+option+" ") {
			t.Errorf("help has no --%s:\n%s", option, out)
		}
	}
}
