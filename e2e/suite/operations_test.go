package suite

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshwarden/meshwarden/e2e/binary"
)

// commands returns the blocks of commands (```sh) below a heading of docs/operations.md, such as "## In an emergency", up to
// the next heading of its level or a higher one. A heading without any fails the test.
func commands(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile(repository("docs", "operations.md"))
	noError(t, "read the documentation", err)
	blocks := shellBlocks(string(text), heading)
	if len(blocks) == 0 {
		t.Fatalf("docs/operations.md has no commands below %q", heading)
	}
	return blocks
}

// shellBlocks returns the blocks of commands in the section of the heading.
func shellBlocks(text, heading string) []string {
	var blocks []string
	level := strings.Index(heading, " ")
	within, language := false, ""
	var block strings.Builder
	for line := range strings.Lines(text) {
		fence, fenced := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fenced && language != "":
			if within && language == "sh" {
				blocks = append(blocks, block.String())
			}
			language = ""
			block.Reset()
		case fenced:
			language = cmp.Or(fence, "text")
		case language != "":
			block.WriteString(line)
		case strings.HasPrefix(line, "#"):
			within = strings.TrimSpace(line) == heading || within && strings.Index(line, " ") > level
		}
	}
	return blocks
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
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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

func TestShellBlocks(t *testing.T) {
	const text = "# Title\n```sh\nearly\n```\n## One\ntext\n```sh\na\nb\n```\n```\nno command\n```\n```sh\n# c\n## Two\n```\n### Below\n```sh\nd\n```\n## Two\n```sh\ne\n```\n"
	for _, tc := range []struct {
		reason, heading string
		want            []string
	}{
		{"all blocks of a section and of those in it", "## One", []string{"a\nb\n", "# c\n## Two\n", "d\n"}},
		{"a section within one", "### Below", []string{"d\n"}},
		{"the last section", "## Two", []string{"e\n"}},
		{"no such section", "## Three", nil},
	} {
		if got := shellBlocks(text, tc.heading); strings.Join(got, "|") != strings.Join(tc.want, "|") {
			t.Errorf("%s: %q, want %q", tc.reason, got, tc.want)
		}
	}
}
