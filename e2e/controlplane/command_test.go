package controlplane_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/meshwarden/meshwarden/e2e/process"
)

func TestCommand(t *testing.T) {
	tests := []struct {
		reason string
		signal os.Signal
		// paused tells whether its children are paused before.
		paused bool
		// clean tells whether the command can still remove its folder.
		clean bool
	}{
		{reason: "SIGTERM ends it cleanly", signal: syscall.SIGTERM, clean: true},
		{reason: "SIGINT ends it cleanly", signal: syscall.SIGINT, clean: true},
		{reason: "paused children do not keep it from ending", signal: syscall.SIGTERM, paused: true, clean: true},
		{reason: "its children do not survive its death", signal: syscall.SIGKILL},
		{reason: "nor do paused ones", signal: syscall.SIGKILL, paused: true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			if test.paused && test.signal == syscall.SIGKILL && runtime.GOOS != "linux" {
				t.Skip("only Linux kills the children of a process that dies")
			}
			temporary := t.TempDir()
			command, kubeconfig := startCommand(t, temporary)
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				t.Fatal(err)
			}
			_, err = clientFor(t, config).CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Errorf("use the kubeconfig: %v", err)
			}
			children := childrenOf(t, command.PID())
			if len(children) != 2 {
				t.Errorf("children: %v, want etcd and the API server", children)
			}

			for _, child := range children {
				if !test.paused {
					break
				}
				if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			if err := command.Signal(test.signal); err != nil {
				t.Fatal(err)
			}
			<-command.Done()
			if err := command.Err(); err != nil {
				t.Errorf("end of the command: %v", err)
			}
			if test.clean {
				wantEmpty(t, temporary)
			}
			eventually(t, "the children have ended", func(context.Context) (bool, error) {
				return len(running(t, children)) == 0, nil
			})
		})
	}
}

func TestCommandEndsWithItsRoles(t *testing.T) {
	temporary := t.TempDir()
	command, _ := startCommand(t, temporary)
	for _, pid := range childrenOf(t, command.PID()) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	<-command.Done()
	if err := command.Err(); err == nil || !strings.Contains(err.Error(), "ended unexpectedly") {
		t.Errorf("end of the command: %v, want an error that says that a role ended", err)
	}
	wantEmpty(t, temporary)
}

func TestCommandLine(t *testing.T) {
	tests := []struct {
		reason    string
		arguments []string
		wantErr   string
	}{
		{"no command", nil, "usage: controlplane start"},
		{"an unknown command", []string{"stop"}, "usage: controlplane start"},
		{"an unknown argument", []string{"start", "now"}, `unexpected argument "now"`},
		{"a route without an address", []string{"start", "--route", "a/b:443"}, "is not NAMESPACE/SERVICE:PORT=ADDRESS"},
		{"a route without a port", []string{"start", "--route", "a/b=127.0.0.1:1"}, "is not NAMESPACE/SERVICE:PORT=ADDRESS"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			output, err := exec.CommandContext(t.Context(), build(t), test.arguments...).CombinedOutput()
			if err == nil || !strings.Contains(string(output), test.wantErr) {
				t.Errorf("%v: %v, %s; want a failure that says %q", test.arguments, err, output, test.wantErr)
			}
		})
	}
}

// startCommand runs "controlplane start" with a temporary folder and returns it with
// the path that it prints.
func startCommand(t *testing.T, temporary string) (command *process.Process, kubeconfig string) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close() // only read from.
	command, err = process.Start(process.Config{
		Name:   "controlplane start",
		Path:   build(t),
		Args:   []string{"start", "--without-controller-manager", "--route", "a/b:443=127.0.0.1:1"},
		Env:    []string{"TMPDIR=" + temporary},
		Stdout: write,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Kill() })
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		<-command.Done()
		t.Fatalf("read the path of the kubeconfig: %v; %v", err, command.Err())
	}
	kubeconfig = strings.TrimSpace(line)
	if relative, err := filepath.Rel(temporary, kubeconfig); err != nil || strings.HasPrefix(relative, "..") {
		t.Errorf("kubeconfig: %s, want a file in %s", kubeconfig, temporary)
	}
	return command, kubeconfig
}

// processes lists all processes of the machine but those that have ended and only
// wait to be reaped, as a map from the id to the parent's.
func processes(t *testing.T) map[int]int {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "ps", "-A", "-o", "pid=,ppid=,state=").Output()
	if err != nil {
		t.Fatalf("list processes: %v", err)
	}
	parents := map[int]int{}
	for line := range strings.Lines(string(output)) {
		var pid, parent int
		var state string
		if _, err := fmt.Sscan(line, &pid, &parent, &state); err != nil {
			t.Fatalf("list processes: line %s: %v", strconv.Quote(line), err)
		}
		if !strings.HasPrefix(state, "Z") {
			parents[pid] = parent
		}
	}
	return parents
}

func childrenOf(t *testing.T, parent int) []int {
	t.Helper()
	var children []int
	for pid, itsParent := range processes(t) {
		if itsParent == parent {
			children = append(children, pid)
		}
	}
	return children
}

func running(t *testing.T, pids []int) []int {
	t.Helper()
	all := processes(t)
	var left []int
	for _, pid := range pids {
		if _, ok := all[pid]; ok {
			left = append(left, pid)
		}
	}
	return left
}
