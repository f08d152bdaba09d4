package check

import (
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// The parts of SARIF 2.1.0 (OASIS) that a report has. GitHub's code scanning and others read them.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID                   string     `json:"id"`
		Name                 string     `json:"name"`
		ShortDescription     sarifText  `json:"shortDescription"`
		Help                 sarifText  `json:"help"`
		DefaultConfiguration sarifLevel `json:"defaultConfiguration"`
	}
	sarifInvocation struct {
		ExecutionSuccessful bool                `json:"executionSuccessful"`
		Notifications       []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
		Kind               string `json:"kind"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifLevel struct {
		Level string `json:"level"`
	}
)

func (r *Report) writeSARIF(w io.Writer) error {
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "Meshwarden", InformationURI: "https://github.com/meshwarden/meshwarden", Rules: []sarifRule{}}},
		Invocations: []sarifInvocation{{ExecutionSuccessful: len(r.Problems) == 0}},
		Results:     []sarifResult{},
	}
	for _, rule := range r.rules {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: rule.ID, Name: rule.Name, ShortDescription: sarifText{rule.Title}, Help: sarifText{rule.Remedy},
			DefaultConfiguration: sarifLevel{sarifLevelOf(rule.Action)},
		})
	}
	for _, p := range r.Problems {
		run.Invocations[0].Notifications = append(run.Invocations[0].Notifications, sarifNotification{
			Level: "error", Message: sarifText{p.Message}, Locations: []sarifLocation{{Physical: sarifPlace(p.File, p.Line)}},
		})
	}
	for _, f := range r.Findings {
		run.Results = append(run.Results, sarifResult{
			RuleID: f.Rule, Level: sarifLevelOf(f.Action), Message: sarifText{sentence(f.Message) + " " + f.Remedy},
			Locations: []sarifLocation{{
				Physical: sarifPlace(f.File, f.Line),
				Logical:  []sarifLogical{{FullyQualifiedName: f.Object.String() + " " + f.Path, Kind: "object"}},
			}},
		})
	}
	return encode(w, sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0", Runs: []sarifRun{run},
	})
}

func sarifLevelOf(action policy.Action) string {
	switch action {
	case policy.Deny:
		return "error"
	case policy.Warn:
		return "warning"
	}
	return "note"
}

// sarifPlace names a place in a file by a URI: relative for a relative path, which is what code scanning maps to the
// repository.
func sarifPlace(file string, line int) sarifPhysical {
	location := url.URL{Path: filepath.ToSlash(file)}
	if strings.HasPrefix(location.Path, "/") {
		location.Scheme = "file"
	}
	p := sarifPhysical{Artifact: sarifArtifact{URI: location.String()}}
	if line > 0 {
		p.Region = &sarifRegion{StartLine: line}
	}
	return p
}
