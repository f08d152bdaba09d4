package check_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestProblems: what cannot be judged is told with its file and line, and hides neither the findings nor the problems of
// what stands beside it.
func TestProblems(t *testing.T) {
	const head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: odd}\n"
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	tests := []struct {
		reason, input string
		// want are the problems, without the file's name.
		want []string
	}{
		{"a quote that is not closed", "a: b\nb: \"c\nd: e\n", []string{"2: a quoted text begins here and does not end"}},
		{"a bracket that is not closed", "a: b\nb: [c,\n  d\ne: f\n", []string{"2: did not find expected ',' or ']'"}},
		{"an indent that fits nothing", "a: b\nb:\n    - c\n  - d\ne: f\n", []string{"4: did not find expected key"}},
		{"the same behind a long block", "a: |\n" + strings.Repeat("  b\n\n", 50) + " c\nd: e\n", []string{"102: did not find expected key"}},
		{"a value in a value", "a: b: c\n", []string{"1: mapping values are not allowed in this context"}},
		{"an item among fields", "a: b\n- c\n", []string{"2: did not find expected key"}},
		{"an unknown anchor", "a: b\nb: *c\n", []string{"2: unknown anchor 'c' referenced"}},
		{"text behind the end", "{a: b}\nc\n", []string{"2: did not find expected <document start>"}},
		{"a tab", "a:\n\tb: c\n", []string{"2: a tab indents the line, where YAML takes spaces only"}},
		{"a NUL", "a: b\nb: \x00\n", []string{"2: the line holds a NUL: this is no text"}},
		{"no text at all", "\x7fELF\x02\x01\x00\x00\n\xff\xfe", []string{"1: the line holds a NUL: this is no text"}},
		{"bytes that are no UTF-8", "a: b\nb: \xff\n", []string{"2: invalid leading UTF-8 octet"}},
		{"a template", "a: b\n{{- if .Values.x }}\nc: d\n{{- end }}\n", []string{
			"2: could not find expected ':'; this looks like a template: render it first, as with helm template",
		}},
		{"a template that is YAML all the same", "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Chart.Name }}\n", []string{
			"4: a name of a field cannot be an object; this looks like a template: render it first, as with helm template",
		}},
		{"broken JSON behind good one", "{\"apiVersion\":\"v1\",\n\"kind\":\"X\"}\n{\"a\":\n 1,}\n", []string{"4: invalid character '}' looking for beginning of object key string"}},
		{"JSON that ends too early", "{\"apiVersion\":\"v1\",\"kind\":\"X\"}\n{\"a\":\n [1", []string{"3: unexpected EOF"}},
		{"a separator that is none", "apiVersion: v1\nkind: X\n--- {a: b}\n", []string{`3: the separator --- must stand alone on its line, not before "{a: b}"`}},
		{"no object", "- a\n---\nb\n", []string{
			"1: this is no Kubernetes object: apiVersion and kind are missing", "3: this is no Kubernetes object: apiVersion and kind are missing",
		}},
		{"no kind", "# a\napiVersion: v1\nKind: X\n", []string{"2: the object has no kind"}},
		{"a kind that is null", "apiVersion: v1\nkind:\n", []string{"1: the object has no kind"}},
		{"no version", "kind: Gateway\n", []string{"1: the Gateway has no apiVersion"}},
		{"a version that is none", "kind: X\napiVersion: a/b/c\n", []string{"2: unexpected GroupVersion string: a/b/c"}},
		{"a version that Istio has not", "apiVersion: networking.istio.io/v2\nkind: Gateway\nmetadata: {name: a}\n", []string{
			"1: Istio has no Gateway networking.istio.io/v2: its versions are v1, v1beta1, v1alpha3",
		}},
		{"no name", "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata:\n  labels: {}\n", []string{"3: the Gateway has no metadata.name"}},
		{"a name that is no text", "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata:\n  name: on\n", []string{"4: the Gateway cannot be read: metadata.name cannot be of type bool"}},
		{"a time that is none", "apiVersion: v1\nkind: Service\nmetadata: {name: a, creationTimestamp: today}\n", []string{
			`1: the Service cannot be read: parsing time "today" as "2006-01-02T15:04:05Z07:00": cannot parse "today" as "2006"`,
		}},
		{"a field that cannot be read", head + "spec:\n  hosts:\n    a: b\n", []string{"5: VirtualService default/odd cannot be judged: spec.hosts: must be a list, not an object"}},
		{"a number beyond all", head + "spec:\n  tcp:\n  - match:\n    - port: 99999999999999999999\n", []string{
			"5: VirtualService default/odd cannot be judged: spec.tcp.match.port: must be a whole number from 0 to 4294967295, not a number 100000000000000000000",
		}},
		{"a workload that cannot be read", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostNetwork: 5}\n", []string{
			"4: Pod default/a cannot be judged: spec.hostNetwork: must be true or false, not a number",
		}},
		{"a field written twice", head + "spec: {}\nspec: {}\n", []string{`5: the field "spec" is there already, on line 4: tools differ in which one they take`}},
		{"the same object twice", gateway("a", "x") + "---\n" + strings.Replace(gateway("a", "y"), "/v1\n", "/v1beta1\n", 1), []string{
			"10: Gateway default/a is there already, at standard input:1, and only that one counts",
		}},
		{"aliases of aliases", head + "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n" +
			"e: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g]\n", []string{
			"1: the object is larger than 3 MiB, which is more than an API server stores",
		}},
		{"aliases of a long text", head + "a: &a " + strings.Repeat("x", 1<<16) + "\nb: [" + strings.Repeat("*a,", 1<<10) + "]\n", []string{
			"1: the object is larger than 3 MiB, which is more than an API server stores",
		}},
		{"an anchor inside of itself", head + "spec: &a {b: *a}\n", []string{`1: the anchor "a" contains itself`}},
		{"a merge of itself", "kind: X\na: &a\n  <<: *a\n", []string{`1: the anchor "a" contains itself`}},
		{"a document larger than any object", head + "a: " + strings.Repeat("x", 3<<20) + "\n", []string{
			"1: the object is larger than 3 MiB, which is more than an API server stores",
		}},
		{"a document larger than any list", "# \n" + strings.Repeat("- xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", 50<<20/43), []string{
			"1: the document is larger than 16 MiB: split it up",
		}},
		{"values nested deeply", head + "spec: " + nested(9_000) + "\n", []string{"4: VirtualService default/odd cannot be judged: spec: must be an object, not a list"}},
		{"values nested too deeply", head + "spec: " + nested(100_000) + "\n", []string{"4: exceeded max depth of 10000"}},
		{"the same in JSON", "{\"apiVersion\":\"v1\",\"kind\":\"X\"}{\"a\":\n" + nested(100_000) + "}", []string{"2: exceeded max depth of 10000"}},
		{"lists in lists", strings.Repeat("{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[\n", 4000) + strings.Repeat("]}", 4000), []string{"11: lists in lists, more than 10 deep"}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			before, after := virtualService("before", "a.example.com")+"---\n", "\n---\n"+virtualService("after", "a.example.com")
			for _, input := range []string{tc.input, before + tc.input + after} {
				r := run(t, defaults(), input, "-")
				first, _, _ := strings.Cut(input, tc.input)
				shift := strings.Count(first, "\n")
				var got []string
				for _, p := range r.Problems {
					lines := regexp.MustCompile(`(input:|line )(\d+)`).ReplaceAllStringFunc(p.String(), func(s string) string {
						line, _ := strconv.Atoi(s[strings.LastIndexAny(s, ": ")+1:])
						return s[:strings.LastIndexAny(s, ": ")+1] + strconv.Itoa(line-shift)
					})
					got = append(got, strings.TrimPrefix(lines, "standard input:"))
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
				if shift > 0 && len(r.Findings) != 2 {
					t.Errorf("findings: %q, want those of the documents before and after", places(r))
				}
			}
		})
	}
}

// TestManySmallDocuments: how large a file is does not matter, as long as its documents are not.
func TestManySmallDocuments(t *testing.T) {
	var b strings.Builder
	b.WriteString(gateway("public", "a.example.com"))
	for range 1_000 {
		b.WriteString("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n# " + strings.Repeat("x", 20_000) + "\n")
	}
	b.WriteString("---\n" + virtualService("web", "b.example.com"))
	r := run(t, defaults(), b.String(), "-")
	if diff := cmp.Diff([]string{"-:5015 MW102"}, places(r)); diff != "" || len(r.Problems) > 0 || r.Others != 1_000 {
		t.Errorf("%d others, problems %q, findings (-want +got):\n%s", r.Others, texts(r.Problems), diff)
	}
}

// TestPaths: what is read of the paths, and what is said of the rest.
func TestPaths(t *testing.T) {
	bad := virtualService("web", "a.example.com")
	tests := []struct {
		reason string
		files  map[string]string
		paths  []string
		stdin  string
		// want are the findings, problems and notes.
		want []string
	}{
		{"folders in folders, in the order of their names", map[string]string{"b/c/a.yml": bad, "b/b.json": "", "a.YAML": virtualService("a", "x"), "c.txt": bad}, []string{"."}, "", []string{"a.YAML:7 MW101", "b/c/a.yml:7 MW101"}},
		{"a file that is named, whatever its name", map[string]string{"b.txt": bad}, []string{"b.txt"}, "", []string{"b.txt:7 MW101"}},
		{"the order of the paths", map[string]string{"b.yaml": bad, "a.yaml": virtualService("a", "x")}, []string{"b.yaml", "a.yaml"}, "", []string{"b.yaml:7 MW101", "a.yaml:7 MW101"}},
		{"standard input among files", map[string]string{"a.yaml": bad}, []string{"-", "a.yaml"}, virtualService("a", "x"), []string{"-:7 MW101", "a.yaml:7 MW101"}},
		{"a file is read once, however it is reached", map[string]string{"a/a.yaml": bad, "a/b.yaml@": "a.yaml", "c@": "a"}, []string{"a/a.yaml", "a", "./a/../a/a.yaml", "c", "-", "-"}, bad, []string{
			"a/a.yaml:7 MW101", "standard input:1: VirtualService default/web is there already, at a/a.yaml:1, and only that one counts",
		}},
		{"a link to a file", map[string]string{"a/a.yaml@": "../b.txt", "b.txt": bad}, []string{"a"}, "", []string{"a/a.yaml:7 MW101"}},
		{"a folder that is a link itself", map[string]string{"a/a.yaml": bad, "b@": "a"}, []string{"b"}, "", []string{"b/a.yaml:7 MW101"}},
		{"a folder that contains itself", map[string]string{"a/a.yaml": bad, "a/b@": "../a"}, []string{"a"}, "", []string{"a/a.yaml:7 MW101", "a/b: a link to a folder is not followed: name it to have it read"}},
		{"links in a circle", map[string]string{"a/a.yaml@": "b.yaml", "a/b.yaml@": "a.yaml", "a/c.yaml": bad}, []string{"a", "a/a.yaml"}, "", []string{
			"a/c.yaml:7 MW101", "a/a.yaml: too many levels of symbolic links", "a/b.yaml: too many levels of symbolic links", "a/a.yaml: too many levels of symbolic links",
		}},
		{"a link to nothing", map[string]string{"a/a.yaml@": "gone", "a/.#b.yaml@": "gone"}, []string{"a"}, "", []string{"a/a.yaml: no such file or directory"}},
		{"hidden files and folders", map[string]string{".a.yaml": bad, ".b/a.yaml": bad, "c.yaml": bad}, []string{"."}, "", []string{"c.yaml:7 MW101"}},
		{"a hidden folder that is named", map[string]string{".b/a.yaml": bad}, []string{".b"}, "", []string{".b/a.yaml:7 MW101"}},
		{"no such path", map[string]string{"a.yaml": bad}, []string{"gone.yaml", "a.yaml"}, "", []string{"a.yaml:7 MW101", "gone.yaml: no such file or directory"}},
		{"a folder without any file of the kind", map[string]string{"a/README.md": "text"}, []string{"a"}, "", []string{"a: the folder holds no .yaml, .yml or .json file"}},
		{"a device", nil, []string{"/dev/null"}, "", []string{"/dev/null: is a device, no file"}},
		{"nothing comes in", nil, []string{"-"}, "# Source: shop/templates/web.yaml\n---\n\n", []string{"standard input: nothing came in: did the command before the pipe fail?"}},
		{"files without an object", map[string]string{"a.yaml": "# nothing\n", "b.yaml": "null\n"}, []string{"."}, "", []string{".: there is no object in the input"}},
		{"a file without an object among others", map[string]string{"a.yaml": "# nothing\n", "b.yaml": bad}, []string{"."}, "", []string{"b.yaml:7 MW101"}},
		{"an object twice in two files", map[string]string{"a.yaml": bad, "b.yaml": "\n" + bad}, []string{"."}, "", []string{
			"a.yaml:7 MW101", "b.yaml:2: VirtualService default/web is there already, at a.yaml:1, and only that one counts",
		}},
		{"a workload twice, which no verdict is missing of", map[string]string{
			"a.yaml": bad, "b.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n", "c.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n",
		}, []string{"."}, "", []string{"a.yaml:7 MW101", "c.yaml:1: Service default/a is there already, at b.yaml:1, and only that one counts"}},
		{"UTF-16, as some shells write it", map[string]string{"a.yaml": utf16(bad, false), "b.yaml": utf16("apiVersion: v1\nkind: [\n", true)}, []string{"."}, "", []string{
			"a.yaml:7 MW101", "b.yaml:2: did not find expected node content",
		}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			write(t, tc.files)
			r := run(t, defaults(), tc.stdin, tc.paths...)
			got := append(append(places(r), texts(r.Problems)...), texts(r.Notes)...)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnreadable: what may not be read, and what is no file, keeps nothing else from being judged.
func TestUnreadable(t *testing.T) {
	write(t, map[string]string{"a/secret.yaml": "", "b/secret/a.yaml": "", "c/web.yaml": virtualService("web", "a.example.com")})
	if err := syscall.Mkfifo("c/pipe.yaml", 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{"c/web.yaml:7 MW101"}
	if os.Getuid() != 0 { // root may read everything
		for _, path := range []string{"a/secret.yaml", "b/secret"} {
			if err := os.Chmod(path, 0); err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, "a/secret.yaml: permission denied", "b/secret: permission denied", "b: the folder holds no .yaml, .yml or .json file")
	}
	r := run(t, defaults(), "", "a", "b", "c")
	if diff := cmp.Diff(want, append(places(r), texts(r.Problems)...)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// utf16 writes a text of ASCII characters as UTF-16 with its mark.
func utf16(text string, bigEndian bool) string {
	var b strings.Builder
	for _, c := range "\ufeff" + text {
		low, high := byte(c), byte(c>>8)
		if bigEndian {
			low, high = high, low
		}
		b.WriteByte(low)
		b.WriteByte(high)
	}
	return b.String()
}
