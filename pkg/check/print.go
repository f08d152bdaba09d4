package check

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Format is a form of the report.
type Format string

// The formats.
const (
	Text   Format = "text"
	JSON   Format = "json"
	SARIF  Format = "sarif"
	GitHub Format = "github"
)

// ParseFormat returns the format of that name, or an error that lists the names.
func ParseFormat(s string) (Format, error) {
	f := Format(s)
	if !slices.Contains([]Format{Text, JSON, SARIF, GitHub}, f) {
		return "", fmt.Errorf("unknown format %q: use text, json, sarif or github", s)
	}
	return f, nil
}

// Write prints the report. Only text has colours.
func (r *Report) Write(w io.Writer, format Format, colour bool) error {
	switch format {
	case JSON:
		return r.writeJSON(w)
	case SARIF:
		return r.writeSARIF(w)
	case GitHub:
		return r.writeGitHub(w)
	}
	return r.writeText(w, colour)
}

// jsonObject names an object.
type jsonObject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
}

type jsonFinding struct {
	Rule    string       `json:"rule"`
	Name    string       `json:"name"`
	Action  string       `json:"action"`
	Object  jsonObject   `json:"object"`
	Path    string       `json:"path"`
	Message string       `json:"message"`
	Remedy  string       `json:"remedy"`
	Related []jsonObject `json:"related"`
	File    string       `json:"file"`
	Line    int          `json:"line"`
}

type jsonSummary struct {
	Objects int `json:"objects"`
	Deny    int `json:"deny"`
	Warn    int `json:"warn"`
}

func (r *Report) writeJSON(w io.Writer) error {
	findings := make([]jsonFinding, 0, len(r.Findings))
	for _, f := range r.Findings {
		related := make([]jsonObject, 0, len(f.Related))
		for _, ref := range f.Related {
			related = append(related, r.object(ref))
		}
		findings = append(findings, jsonFinding{
			Rule: f.Rule, Name: f.Name, Action: string(f.Action), Object: r.object(f.Object), Path: f.Path,
			Message: f.Message, Remedy: f.Remedy, Related: related, File: f.File, Line: f.Line,
		})
	}
	return encode(w, struct {
		Findings []jsonFinding `json:"findings"`
		Summary  jsonSummary   `json:"summary"`
		Errors   []Problem     `json:"errors,omitempty"`
	}{findings, jsonSummary{Objects: r.Judged, Deny: r.Count(policy.Deny), Warn: r.Count(policy.Warn)}, r.Problems})
}

// object names an object with the version that the input writes, or the one in which it would be read.
func (r *Report) object(ref policy.Ref) jsonObject {
	version, ok := r.versions[ref]
	if !ok {
		gv, _ := istio.GroupVersionOf(ref.Kind)
		version = gv.String()
	}
	return jsonObject{APIVersion: version, Kind: string(ref.Kind), Namespace: ref.Namespace, Name: ref.Name}
}

func encode(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// sentence makes the message of a finding end like one.
func sentence(message string) string {
	if strings.HasSuffix(message, ".") {
		return message
	}
	return message + "."
}

// writeGitHub prints workflow commands, which GitHub shows beside the lines that they name.
func (r *Report) writeGitHub(w io.Writer) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	levels := map[policy.Action]string{policy.Deny: "error", policy.Warn: "warning", policy.Audit: "notice"}
	var b strings.Builder
	command := func(level, file string, line int, title, message string) {
		fmt.Fprintf(&b, "::%s file=%s,", level, property.Replace(file))
		if line > 0 {
			fmt.Fprintf(&b, "line=%d,", line)
		}
		fmt.Fprintf(&b, "title=%s::%s\n", property.Replace(title), data.Replace(message))
	}
	for _, p := range r.Problems {
		command("error", p.File, p.Line, "Not judged", p.Message)
	}
	for _, f := range r.Findings {
		command(levels[f.Action], f.File, f.Line, f.Rule+" "+f.Name, fmt.Sprintf("%s: %s %s", f.Object, sentence(f.Message), f.Remedy))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
