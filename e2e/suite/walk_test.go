package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/process"
)

// What `make run` starts prints what README shows, and leaves nothing behind.
func TestWalk(t *testing.T) {
	t.Parallel()
	plain := []string{"-controlplane", "-webhook"}
	for _, tc := range []struct {
		reason   string
		programs []binary.Binary
		options  []string
		// readme begins the block of README that is compared from the line that begins with from.
		readme, from string
	}{
		{
			"make run",
			[]binary.Binary{binary.ControlPlaneWithoutControllerManager, binary.Webhook},
			plain,
			"the output of <code>make run</code>", "1. ",
		},
		{
			"make run MESH=1",
			[]binary.Binary{binary.ControlPlane, binary.Webhook, binary.Installer, binary.PilotDiscovery, binary.CertManager},
			append(slices.Clone(plain), "-installer", "-istiod", "-certmanager"),
			"what <code>make run MESH=1</code> prints besides", "7. ",
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			var args []string
			for i, program := range tc.programs {
				path, err := binary.Build(t.Context(), program, nil)
				noError(t, fmt.Sprintf("build %s", program), err)
				args = append(args, tc.options[i], path)
			}
			if len(tc.programs) > len(plain) {
				args = append(args, "-mesh")
			}
			dir := t.TempDir()
			compareWithREADME(t, runWalk(t, dir, args), readmeBlock(t, tc.readme), tc.from)
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("it left %v in its folder for temporary files, %v", left, err)
			}
			if left := processesWith(t, "TMPDIR="+dir); len(left) > 0 {
				t.Errorf("it left processes behind: %v", left)
			}
		})
	}
}

// runWalk starts the walk, whose temporary files are in dir, presses Ctrl-C as soon as everything runs, and returns what it has
// printed when it has ended.
func runWalk(t *testing.T, dir string, args []string) string {
	t.Helper()
	walk, err := binary.Build(t.Context(), binary.Walk, nil)
	noError(t, "build the walk", err)
	output := &logBuffer{}
	p, err := process.Start(process.Config{Name: "walk", Path: walk, Args: args, Env: []string{"TMPDIR=" + dir}, Log: output})
	noError(t, "start the walk", err)
	t.Cleanup(func() { noError(t, "end the walk", p.Kill()) })
	e := &environment{}
	e.eventually(t, "everything runs", func(context.Context) error {
		select {
		case <-p.Done():
			t.Fatalf("the walk ended: %v\n%s", p.Err(), output.tail(1000))
		default:
		}
		if len(output.find("Ctrl-C stops it")) == 0 {
			return errors.New(output.tail(1))
		}
		return nil
	})
	noError(t, "press Ctrl-C", p.Signal(syscall.SIGINT))
	<-p.Done()
	if code := p.ExitCode(); code != 0 {
		t.Errorf("it ended with code %d", code)
	}
	return output.tail(1000)
}

// compareWithREADME holds what was printed to what README shows of it, which is compared from the line that begins so.
func compareWithREADME(t *testing.T, printed, shown, beginning string) {
	t.Helper()
	if from(shown, beginning) == "" {
		t.Fatalf("README's block has no line that begins with %q", beginning)
	}
	// Above that line is what is started, and how far that is.
	if diff := cmp.Diff(steady(shown, "Starting", "Applying", "  preflight"), steady(printed, "Starting", "Applying", "  preflight")); diff != "" {
		t.Errorf("README shows other starts (-README +printed):\n%s", diff)
	}
	printed, _, _ = strings.Cut(from(printed, beginning), "\n\nStopping ...")
	if diff := cmp.Diff(steady(from(shown, beginning)), steady(printed)); diff != "" {
		t.Errorf("README shows something else (-README +printed):\n%s", diff)
	}
}

// readmeBlock returns the code block that follows a text in README.
func readmeBlock(t *testing.T, text string) string {
	t.Helper()
	content, err := os.ReadFile(repository("README.md"))
	noError(t, "read README", err)
	_, after, found := strings.Cut(string(content), text)
	parts := strings.SplitN(after, "\n```", 3)
	if !found || len(parts) < 3 {
		t.Fatalf("README has no block after %q", text)
	}
	return strings.TrimPrefix(parts[1], "\n")
}

// from returns the text from the first line that begins so.
func from(text, beginning string) string {
	if _, after, found := strings.Cut("\n"+text, "\n"+beginning); found {
		return beginning + after
	}
	return ""
}

// steady returns those lines that begin with one of the words, or all, without what differs from run to run.
func steady(text string, words ...string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if len(words) > 0 && !slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(line, word) }) {
			continue
		}
		line = regexp.MustCompile(`\S*/meshwarden-\d+/`).ReplaceAllString(line, "FOLDER/")
		line = regexp.MustCompile(`\d+ ms`).ReplaceAllString(line, "N ms")
		line = regexp.MustCompile(`-[a-z0-9]{6,10}-[a-z0-9]{5}\b`).ReplaceAllString(line, "-POD")
		lines = append(lines, strings.Join(strings.Fields(line), " ")) // columns are as wide as the names
	}
	return lines
}

// processesWith returns the command lines of the processes that have a variable in their environment, where the system shows it (Linux).
func processesWith(t *testing.T, variable string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	noError(t, "look for processes", err)
	var found []string
	for _, file := range files {
		environment, err := os.ReadFile(file)
		if err != nil || !slices.Contains(strings.Split(string(environment), "\x00"), variable) {
			continue // gone, or somebody else's
		}
		command, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		if err == nil && len(command) > 0 {
			found = append(found, strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}
