package check_test

import (
	"os"
	"strings"
	"testing"

	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/check"
)

// FuzzLoad judges any input without a panic, names lines that the input has, and prints what it says in every format.
func FuzzLoad(f *testing.F) {
	fixtures, err := fixture.Load(os.DirFS("../../testdata/rules"))
	if err != nil {
		f.Fatal(err)
	}
	for i, c := range fixtures {
		if i%10 == 0 {
			f.Add([]byte(c.Documents))
		}
	}
	for _, seed := range []string{
		"", "\ufeff---\n", "a: &a [*a]\n<<: *b\n? c\n: d\n...\n%YAML 1.1\n---\n", "{\"a\":[1,null,true,\"\\u0000\"]}{}\n--- x\n",
		"apiVersion: v1\nkind: List\nitems:\n- &g {apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: on}}\n- *g\n- 5\n",
		"{\"apiVersion\":\"networking.istio.io/v1\",\"kind\":\"GatewayList\",\"items\":[{\"metadata\":{\"name\":\"a\",\"name\":\"b\"},\"spec\":{}}]}",
		"apiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: istio, namespace: istio-system}\r\ndata: {mesh: \"a: b\\nrootNamespace: []\"}\r\n",
		"a: \"\u0085\u2028\r\n\tb: |2-\n   c\n#\x00\n", "\xff\xfea\x00:\x00\n\x00", "a: !!binary x\nb: !!float on\nc: 0o7\nd: 1_0\ne: 2001-01-01\nf: .nan\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		r, err := check.Run(defaults(), []string{"-"}, strings.NewReader(string(input)))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(string(input), "\n") + 1
		for _, p := range r.Problems {
			if p.Line < 0 || p.Line > lines || p.Message == "" {
				t.Errorf("%q in %d lines", p, lines)
			}
		}
		for _, found := range r.Findings {
			if found.Line < 1 || found.Line > lines {
				t.Errorf("%s on line %d of %d", found.Rule, found.Line, lines)
			}
		}
		for _, format := range []check.Format{check.Text, check.JSON, check.SARIF, check.GitHub} {
			printed(t, r, format, false)
		}
	})
}
