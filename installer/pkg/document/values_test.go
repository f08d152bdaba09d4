package document_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/installer/pkg/document"
)

// What is plain in the values is read as Kubernetes' and Istio's own tools read it.
func TestReadPlainValues(t *testing.T) {
	for reason, texts := range map[string][]string{
		"booleans": {
			"true", "True", "TRUE", "false", "False", "FALSE", "yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF", "y", "Y", "n", "N",
		},
		"texts that resemble booleans": {`"no"`, "'on'", "!!str yes", "|-\n    off", ">-\n    no", "yEs", "oN", "t", "f", "enabled", "yes please"},
		"nothing":                      {"", "~", "null", "Null", "NULL", "nULL"},
		"numbers": {
			"5", "-5", "+1", "010", "0o10", "08", "0x10", "0b11", "-0b11", "1_000", "1.5", ".5", "5.", "-.5", "1e1", "1E+2", "1.31", "9007199254740993",
			"9223372036854775807", "18446744073709551616",
		},
		"texts that resemble numbers": {`"5"`, "1:30", "1.31.1", "1,000", "_1", "e1", "0xg", "25%", "30s", "100Mi", "<<"},
		"dates":                       {"2026-01-02", "2026-01-02T03:04:05Z", "2026-01-02 03:04:05"},
	} {
		for _, text := range texts {
			values := "a: " + text + "\n"
			want, err := yaml.YAMLToJSON([]byte(values))
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			indented := "kind: configuration/applications\nspecification:\n applications:\n - name: istio\n   istio_spec:\n    values:\n     " +
				strings.ReplaceAll(strings.TrimSpace(values), "\n", "\n     ")
			d, err := document.Read("document.yaml", []byte(indented))
			if err != nil {
				t.Errorf("%s: %q: %v", reason, text, err)
				continue
			}
			got, err := json.Marshal(d.Values)
			if diff := cmp.Diff(string(want), string(got)); err != nil || diff != "" {
				t.Errorf("%s: %q (-sigs.k8s.io/yaml +Read):\n%s%v", reason, text, diff, err)
			}
		}
	}
}
