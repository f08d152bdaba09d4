package suite

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/e2e/binary"
)

// section is a part of a page of documentation, up to the next heading of whatever level.
type section struct {
	// heading is its line, such as "## In an emergency".
	heading string
	// shell are its blocks of commands (```sh).
	shell []string
	// helm are its command lines of Helm's, which are in blocks of their own: the tests have no program of that name.
	helm []string
}

// sections returns those of the page that have commands.
func sections(page string) []section {
	found := []section{{}}
	language := ""
	var block strings.Builder
	for line := range strings.Lines(page) {
		current := &found[len(found)-1]
		fence, fenced := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fenced && language == "":
			if language = fence; fence == "" {
				language = "text"
			}
		case fenced:
			if language == "sh" {
				current.shell = append(current.shell, block.String())
			}
			language = ""
			block.Reset()
		case language != "":
			block.WriteString(line)
			if language == "text" && strings.HasPrefix(line, "helm ") {
				current.helm = append(current.helm, strings.TrimSpace(line))
			}
		case strings.HasPrefix(line, "#"):
			found = append(found, section{heading: strings.TrimSpace(line)})
		}
	}
	return slices.DeleteFunc(found, func(s section) bool { return len(s.shell)+len(s.helm) == 0 })
}

// pageSection returns a section of a page of docs. Unless that has so many blocks of commands and lines of Helm's, the test
// fails: whoever writes another one says here who runs it.
func pageSection(t *testing.T, page, heading string, shell, helm int) section {
	t.Helper()
	s := findSection(t, page, heading)
	if len(s.shell) != shell || len(s.helm) != helm {
		t.Fatalf("%q in docs/%s has %d blocks of commands and %d lines of Helm's, want %d and %d", heading, page, len(s.shell), len(s.helm), shell, helm)
	}
	return s
}

func findSection(t *testing.T, page, heading string) section {
	t.Helper()
	text, err := os.ReadFile(repository("docs", page))
	noError(t, "read the documentation", err)
	for _, s := range sections(string(text)) {
		if s.heading == heading {
			return s
		}
	}
	t.Fatalf("docs/%s has no commands below %q", page, heading)
	return section{}
}

// documentedBlock returns one block of commands, counted from 0, of a section of docs/operations.md. Heading and number are
// written where it is called, for TestCommandsAreRun to find them.
func documentedBlock(t *testing.T, heading string, number int) string {
	t.Helper()
	blocks := findSection(t, "operations.md", heading).shell
	if number >= len(blocks) {
		t.Fatalf("docs/operations.md has %d blocks of commands below %q", len(blocks), heading)
	}
	return blocks[number]
}

// documentedHelm returns one of its lines of Helm's.
func documentedHelm(t *testing.T, heading string, number int) string {
	t.Helper()
	lines := findSection(t, "operations.md", heading).helm
	if number >= len(lines) {
		t.Fatalf("docs/operations.md has %d lines of Helm's below %q", len(lines), heading)
	}
	return lines[number]
}

// calls returns the calls by which tests ask for all that the sections have.
func calls(page []section) []string {
	var asked []string
	for _, s := range page {
		for i := range s.shell {
			asked = append(asked, fmt.Sprintf("documentedBlock(t, %q, %d)", s.heading, i))
		}
		for i := range s.helm {
			asked = append(asked, fmt.Sprintf("documentedHelm(t, %q, %d)", s.heading, i))
		}
	}
	return asked
}

// Each block of commands and each line of Helm's in docs/operations.md is one that a test of this package asks for.
func TestCommandsAreRun(t *testing.T) {
	page, err := os.ReadFile(repository("docs", "operations.md"))
	noError(t, "read the documentation", err)
	files, err := filepath.Glob("*_test.go")
	noError(t, "find the tests", err)
	call := regexp.MustCompile(`\bdocumented(Block|Helm)\(t, "[^"]*", \d+\)`)
	var asked []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		noError(t, "read the tests", err)
		asked = append(asked, call.FindAllString(string(text), -1)...)
	}
	slices.Sort(asked)
	want := calls(sections(string(page)))
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Compact(asked)); diff != "" {
		t.Errorf("what docs/operations.md has (-) and what tests ask for (+):\n%s", diff)
	}
}

// shell runs a block of commands as a user does who follows the documentation: in the repository's root, with kubectl and a
// kubeconfig of an administrator. It returns what they print, and ends at the first one that fails.
func (e *environment) shell(t *testing.T, block string) (string, error) {
	t.Helper()
	return e.shellIn(t, repository(), block)
}

// shellIn does so in the root of another checkout.
func (e *environment) shellIn(t *testing.T, root, block string) (string, error) {
	t.Helper()
	kubectl, err := binary.Build(t.Context(), binary.Kubectl, nil)
	noError(t, "build kubectl", err)
	// A block may wait for several things.
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", block)
	cmd.Dir = root
	// Nothing of this machine's own kubeconfig, nor of its cache and preferences.
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(kubectl)+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"KUBECONFIG="+e.cp.Kubeconfig(), "HOME="+t.TempDir(), "KUBERC=off")
	output, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", block, err, output)
	}
	return string(output), err
}

func TestSections(t *testing.T) {
	const page = "# Title\n```sh\nearly\n```\n## One\ntext\n```sh\na\nb\n```\n```\nno command\n```\n```sh\n# c\n## Two\n```\n" +
		"### Below\n```yaml\nhelm \n```\n## Empty\n## Two\n  ```sh\ne\n  ```\n```\nkubectl f\nhelm g\n```\n"
	want := []section{
		{heading: "# Title", shell: []string{"early\n"}},
		{heading: "## One", shell: []string{"a\nb\n", "# c\n## Two\n"}},
		{heading: "## Two", shell: []string{"e\n"}, helm: []string{"helm g"}},
	}
	if diff := cmp.Diff(want, sections(page), cmp.AllowUnexported(section{})); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
}
