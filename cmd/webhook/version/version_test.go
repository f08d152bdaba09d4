package version

import (
	"bytes"
	"encoding/json"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestInfo(t *testing.T) {
	recorded := &debug.BuildInfo{
		Main: debug.Module{Version: "v1.2.1-0.20260301120000-0123456789ab"},
		Settings: []debug.BuildSetting{
			{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.time", Value: "2026-03-01T12:00:00Z"},
		},
	}
	tests := []struct {
		reason string
		stamp  stamp
		build  *debug.BuildInfo
		want   Info
	}{
		{
			reason: "a build by make says what make was told", build: recorded,
			stamp: stamp{version: "v1.2.0", commit: "fedcba9876543210", seconds: "1767225600"},
			want:  Info{Version: "v1.2.0", Commit: "fedcba9876543210", Date: "2026-01-01T00:00:00Z"},
		},
		{
			reason: "a plain go build in a clone says what the go command recorded", build: recorded,
			want: Info{Version: "v1.2.1-0.20260301120000-0123456789ab", Commit: "0123456789abcdef", Date: "2026-03-01T12:00:00Z"},
		},
		{
			reason: "go install of a released version knows no commit", build: &debug.BuildInfo{Main: debug.Module{Version: "v1.2.0"}},
			want: Info{Version: "v1.2.0", Commit: "unknown", Date: "unknown"},
		},
		{
			reason: "where nobody knows anything, it says so", build: &debug.BuildInfo{},
			want: Info{Version: "unknown", Commit: "unknown", Date: "unknown"},
		},
		{
			reason: "a date that is none is not invented", build: &debug.BuildInfo{}, stamp: stamp{version: "v1.2.0", seconds: "yesterday"},
			want: Info{Version: "v1.2.0", Commit: "unknown", Date: "unknown"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			tc.want.GoVersion, tc.want.Platform = runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH
			if diff := cmp.Diff(tc.want, info(tc.stamp, tc.build)); diff != "" {
				t.Errorf("info (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCommand(t *testing.T) {
	asJSON, err := json.MarshalIndent(Get(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		reason, want, wantErr string
		args                  []string
	}{
		{reason: "text, for people", want: Get().String()},
		{reason: "JSON, for scripts", args: []string{"--output", "json"}, want: string(asJSON) + "\n"},
		{reason: "another format is refused with the list", args: []string{"--output", "yaml"}, wantErr: "use text or json"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			var out bytes.Buffer
			c := NewCommand()
			c.SilenceErrors, c.SilenceUsage = true, true
			c.SetOut(&out)
			c.SetArgs(tc.args)
			err := c.Execute()
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("error: %v, want %q in it", err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Errorf("printed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetric(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if err := RegisterMetric(registry); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != 1 || len(families[0].GetMetric()) != 1 {
		t.Fatalf("gathered %v, want one metric", families)
	}
	metric := families[0].GetMetric()[0]
	got := map[string]string{"name": families[0].GetName()}
	for _, label := range metric.GetLabel() {
		got[label.GetName()] = label.GetValue()
	}
	i := Get()
	want := map[string]string{"name": "meshwarden_build_info", "version": i.Version, "commit": i.Commit, "goversion": i.GoVersion}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the metric and its labels (-want +got):\n%s", diff)
	}
	if value := metric.GetGauge().GetValue(); value != 1 {
		t.Errorf("value: %v, want 1", value)
	}
}
