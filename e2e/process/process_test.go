package process_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/e2e/process"
)

func TestEnding(t *testing.T) {
	tests := []struct {
		reason string
		script string
		// end is what the test does once the script has said that it is ready.
		end func(context.Context, *process.Process) error
		// wantErr is in Err; empty means that there is none.
		wantErr string
	}{
		{
			reason: "exit status 0 is no error",
			script: "echo ready",
			end:    waitDone,
		},
		{
			reason: "a failure quotes the last lines of the log",
			script: "echo ready; echo no such luck >&2; exit 3",
			end:    waitDone,
			wantErr: "child ended: exit status 3; its last output:\n" +
				"no such luck",
		},
		{
			reason: "a line without an end is quoted too",
			script: "echo ready; printf unfinished >&2; exit 3",
			end:    waitDone,
			wantErr: "child ended: exit status 3; its last output:\n" +
				"unfinished",
		},
		{
			reason: "ending by the SIGTERM of Stop is no error",
			script: "echo ready; while :; do :; done",
			end:    func(ctx context.Context, p *process.Process) error { return p.Stop(ctx) },
		},
		{
			reason: "a paused process is resumed to be stopped",
			script: "echo ready; while :; do :; done",
			end: func(ctx context.Context, p *process.Process) error {
				if err := p.Pause(); err != nil {
					return err
				}
				return p.Stop(ctx)
			},
		},
		{
			reason:  "a failure in the stop is an error",
			script:  "trap 'echo cannot save >&2; exit 1' TERM; echo ready; while :; do :; done",
			end:     func(ctx context.Context, p *process.Process) error { _ = p.Stop(ctx); return nil },
			wantErr: "cannot save",
		},
		{
			reason: "Kill is no error",
			script: "echo ready; while :; do :; done",
			end:    func(_ context.Context, p *process.Process) error { return p.Kill() },
		},
		{
			reason:  "a signal from elsewhere is an error",
			script:  "echo ready; kill -KILL $$",
			end:     waitDone,
			wantErr: "child ended without output: signal: killed",
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			child := startScript(t, test.script, nil)
			if err := test.end(ctx, child); err != nil {
				t.Fatal(err)
			}
			if err := waitDone(ctx, child); err != nil {
				t.Fatal(err)
			}
			err := child.Err()
			if test.wantErr == "" && err != nil {
				t.Errorf("Err: %v, want none", err)
			}
			if test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr)) {
				t.Errorf("Err: %v, want one with %q", err, test.wantErr)
			}
			if err := child.Stop(ctx); (err == nil) != (test.wantErr == "") {
				t.Errorf("Stop after the end: %v, want what Err says", err)
			}
			if err := child.Kill(); err != nil {
				t.Errorf("Kill after the end: %v, want none", err)
			}
		})
	}
}

func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	child := startScript(t, "trap '' TERM; echo ready; while :; do :; done", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := child.Stop(ctx)
	if err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("Stop: %v, want an error that says that it was killed", err)
	}
	select {
	case <-child.Done():
	default:
		t.Error("the process still runs after Stop")
	}
}

func TestLogGetsWholeLines(t *testing.T) {
	var log lines
	child := startScript(t, "printf 'one\ntw' >&2; printf 'o\n' >&2; echo ready; printf three >&2", &log)
	if err := waitDone(t.Context(), child); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines{"one\n", "two\n", "three\n"}, log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestStartSaysWhatIsMissing(t *testing.T) {
	_, err := process.Start(process.Config{Name: "child", Path: t.TempDir() + "/missing"})
	if err == nil || !strings.Contains(err.Error(), "start child: ") {
		t.Errorf("Start: %v, want an error that names the child", err)
	}
}

// lines collects what is written, one entry a call.
type lines []string

func (l *lines) Write(line []byte) (int, error) {
	*l = append(*l, string(line))
	return len(line), nil
}

func waitDone(ctx context.Context, child *process.Process) error {
	select {
	case <-child.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startScript starts a shell script and waits until it says "ready" on its standard
// output, by when its traps are set.
func startScript(t *testing.T, script string, log *lines) *process.Process {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	config := process.Config{Name: "child", Path: "/bin/sh", Args: []string{"-c", script}, Stdout: write}
	if log != nil {
		config.Log = log
	}
	child, err := process.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Kill() })
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	buffer := make([]byte, 64)
	for !strings.Contains(got.String(), "ready\n") {
		n, err := read.Read(buffer)
		if err != nil {
			t.Fatalf("wait for the script to be ready: %v", err)
		}
		got.Write(buffer[:n])
	}
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	return child
}
