package check_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/check"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// reported returns a report with one finding of each action and a problem, whose names and texts are as awkward as names
// and texts can be.
func reported(t *testing.T) *check.Report {
	t.Helper()
	finding := func(rule string, action policy.Action, message string) func(policy.Mesh, policy.Object) []policy.Finding {
		return func(_ policy.Mesh, o policy.Object) []policy.Finding {
			if o.VirtualService == nil || o.VirtualService.Name != rule {
				return nil
			}
			return []policy.Finding{{Action: action, Path: "spec.hosts[0]", Message: message, Related: []policy.Ref{
				{Kind: policy.KindGateway, Key: policy.Key{Namespace: "default", Name: "public"}},
				{Kind: policy.KindDeployment, Key: policy.Key{Namespace: "edge", Name: "ingress"}},
			}}}
		}
	}
	rule := func(id string, action policy.Action, message string) policy.Rule {
		return policy.Rule{
			ID: "MW90" + id, Name: "rule-" + id, Kinds: []policy.Kind{policy.KindVirtualService}, Title: "It is wrong.", Remedy: "Make it right.",
			Action: action, Check: finding(id, action, message),
		}
	}
	o := defaults()
	o.Rules = []policy.Rule{
		rule("1", policy.Deny, "host \"a\\b\" is <100%>\r\n\x1b[31mred"), rule("2", policy.Warn, "it ends so."), rule("3", policy.Audit, "so"),
	}
	write(t, map[string]string{
		"a b,c:d%/ä.yaml": virtualService(`"1"`, "a") + "---\n" + virtualService(`"2"`, "a") + "---\n" + strings.Replace(virtualService(`"3"`, "a"), "/v1\n", "/v1beta1\n", 1),
		"b.yaml":          strings.Replace(gateway("public", "a"), "/v1\n", "/v1alpha3\n", 1) + "---\na: [\n",
	})
	return run(t, o, "", ".", "gone")
}

func printed(t *testing.T, r *check.Report, format check.Format, colour bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, format, colour); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	r := reported(t)
	want := `a b,c:d%/ä.yaml
  6: deny MW901 rule-1 VirtualService default/1 spec.hosts[0]
      host "a\b" is <100%>???[31mred.
      Make it right.

  17: warn MW902 rule-2 VirtualService default/2 spec.hosts[0]
      it ends so.
      Make it right.

  28: audit MW903 rule-3 VirtualService default/3 spec.hosts[0]
      so.
      Make it right.

1 deny, 1 warn, 1 audit: 4 objects judged in 2 files.
`
	if diff := cmp.Diff(want, printed(t, r, check.Text, false)); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	coloured := printed(t, r, check.Text, true)
	for _, colour := range []string{"\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[0m"} {
		if !strings.Contains(coloured, colour) {
			t.Errorf("%q is nowhere in the coloured text", colour)
		}
		coloured = strings.ReplaceAll(coloured, colour, "")
	}
	if diff := cmp.Diff(want, coloured); diff != "" {
		t.Errorf("colours change the text (-want +got):\n%s", diff)
	}
}

func TestTextSummary(t *testing.T) {
	tests := []struct {
		reason string
		report check.Report
		want   string
	}{
		{"nothing", check.Report{}, "0 deny, 0 warn: 0 objects judged in 0 files.\n"},
		{"one of each", check.Report{Files: 1, Judged: 1, Read: 1, Others: 1}, "0 deny, 0 warn: 1 object judged in 1 file, by 1 object behind them; 1 object of another kind left alone.\n"},
		{"several", check.Report{Files: 2, Judged: 3, Read: 4, Others: 5}, "0 deny, 0 warn: 3 objects judged in 2 files, by 4 objects behind them; 5 objects of other kinds left alone.\n"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, printed(t, &tc.report, check.Text, false)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestJSON holds the form that DESIGN and docs/operations.md promise to other programs.
func TestJSON(t *testing.T) {
	want := `{
  "findings": [
    {
      "rule": "MW901",
      "name": "rule-1",
      "action": "deny",
      "object": {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "namespace": "default", "name": "1"},
      "path": "spec.hosts[0]",
      "message": "host \"a\\b\" is <100%>\r\n\u001b[31mred",
      "remedy": "Make it right.",
      "related": [
        {"apiVersion": "networking.istio.io/v1alpha3", "kind": "Gateway", "namespace": "default", "name": "public"},
        {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "edge", "name": "ingress"}
      ],
      "file": "a b,c:d%/ä.yaml",
      "line": 6
    }
  ],
  "summary": {"objects": 4, "deny": 1, "warn": 1},
  "errors": [
    {"file": "b.yaml", "line": 10, "message": "did not find expected node content"},
    {"file": "gone", "message": "no such file or directory"}
  ]
}`
	r := reported(t)
	var got, wanted map[string]any
	for text, into := range map[string]*map[string]any{want: &wanted, printed(t, r, check.JSON, true): &got} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	findings, _ := got["findings"].([]any)
	if len(findings) != 3 {
		t.Fatalf("%d findings, want 3", len(findings))
	}
	got["findings"] = findings[:1]
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	empty := "{\n  \"findings\": [],\n  \"summary\": {\n    \"objects\": 0,\n    \"deny\": 0,\n    \"warn\": 0\n  }\n}\n"
	if diff := cmp.Diff(empty, printed(t, &check.Report{}, check.JSON, false)); diff != "" {
		t.Errorf("JSON without findings (-want +got):\n%s", diff)
	}
}

func TestGitHub(t *testing.T) {
	want := `::error file=b.yaml,line=10,title=Not judged::did not find expected node content
::error file=gone,title=Not judged::no such file or directory
::error file=a b%2Cc%3Ad%25/ä.yaml,line=6,title=MW901 rule-1::VirtualService default/1: host "a\b" is <100%25>%0D%0A?[31mred. Make it right.
::warning file=a b%2Cc%3Ad%25/ä.yaml,line=17,title=MW902 rule-2::VirtualService default/2: it ends so. Make it right.
::notice file=a b%2Cc%3Ad%25/ä.yaml,line=28,title=MW903 rule-3::VirtualService default/3: so. Make it right.
`
	got := strings.ReplaceAll(printed(t, reported(t), check.GitHub, true), "\x1b", "?")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workflow commands (-want +got):\n%s", diff)
	}
}

// TestSARIF holds what code scanning needs: a rule for each result, with help, and a place for each result.
func TestSARIF(t *testing.T) {
	type text struct{ Text string }
	type location struct {
		PhysicalLocation struct {
			ArtifactLocation struct{ URI string }
			Region           struct{ StartLine int }
		}
		LogicalLocations []struct{ FullyQualifiedName, Kind string }
	}
	type result struct {
		RuleID, Level string
		Message       text
		Locations     []location
	}
	var got struct {
		Schema  string `json:"$schema"`
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name, InformationURI string
					Rules                []struct {
						ID, Name               string
						ShortDescription, Help text
						DefaultConfiguration   struct{ Level string }
					}
				}
			}
			Invocations []struct {
				ExecutionSuccessful        bool
				ToolExecutionNotifications []result
			}
			Results []result
		}
	}
	if err := json.Unmarshal([]byte(printed(t, reported(t), check.SARIF, true)), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != "2.1.0" || !strings.HasSuffix(got.Schema, "sarif-schema-2.1.0.json") || len(got.Runs) != 1 {
		t.Fatalf("version %q, schema %q, %d runs", got.Version, got.Schema, len(got.Runs))
	}
	sarif := got.Runs[0]
	known := map[string]string{}
	for _, r := range sarif.Tool.Driver.Rules {
		known[r.ID] = r.DefaultConfiguration.Level
		if r.Help.Text != "Make it right." || r.ShortDescription.Text != "It is wrong." || r.Name == "" {
			t.Errorf("rule: %+v", r)
		}
	}
	var lines []int
	for _, r := range sarif.Results {
		if known[r.RuleID] != r.Level || len(r.Locations) != 1 || !strings.HasSuffix(r.Message.Text, ". Make it right.") {
			t.Errorf("result: %+v, levels %v", r, known)
			continue
		}
		l := r.Locations[0]
		lines = append(lines, l.PhysicalLocation.Region.StartLine)
		if uri := l.PhysicalLocation.ArtifactLocation.URI; uri != "a%20b,c:d%25/%C3%A4.yaml" && uri != "./a%20b,c:d%25/%C3%A4.yaml" {
			t.Errorf("URI %q", uri)
		}
		if len(l.LogicalLocations) != 1 || !strings.HasPrefix(l.LogicalLocations[0].FullyQualifiedName, "VirtualService default/") {
			t.Errorf("logical location: %+v", l.LogicalLocations)
		}
	}
	if diff := cmp.Diff([]int{6, 17, 28}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if i := sarif.Invocations; len(i) != 1 || i[0].ExecutionSuccessful || len(i[0].ToolExecutionNotifications) != 2 {
		t.Errorf("invocations: %+v", i)
	}
}

func TestParseFormat(t *testing.T) {
	for _, name := range []string{"text", "json", "sarif", "github"} {
		if f, err := check.ParseFormat(name); string(f) != name || err != nil {
			t.Errorf("ParseFormat(%q) = %q, %v", name, f, err)
		}
	}
	if _, err := check.ParseFormat("xml"); err == nil || err.Error() != `unknown format "xml": use text, json, sarif or github` {
		t.Errorf("ParseFormat(xml): %v", err)
	}
}
