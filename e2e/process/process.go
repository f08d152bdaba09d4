// Package process runs one child process that a test can stop, pause and kill.
//
// A child runs in a process group of its own, so that Ctrl-C at the terminal
// reaches the parent only, which then stops its children in the right order. A child
// does not outlive its parent, however that ends: on Linux the kernel kills it, and
// elsewhere it has to call [ParentGone].
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// outputDelay bounds how long the output of a child is still read after the
// child has ended: a grandchild may hold the other end open for ever.
const outputDelay = 2 * time.Second

// Config says what to run.
type Config struct {
	// Name stands for the process in errors.
	Name string
	// Path is the program, Args are its arguments (without the program's name).
	Path string
	Args []string
	// Env is added to the environment of the parent, as KEY=value.
	Env []string
	// Dir is the working directory; empty means the parent's.
	Dir string
	// Stdout gets the standard output; nil sends it to Log.
	Stdout io.Writer
	// Log gets the standard error in whole lines, one a call; nil drops them. It
	// has to be safe for concurrent use when several processes share it.
	Log io.Writer
}

// Process is a started child process. It is safe for concurrent use.
type Process struct {
	name   string
	cmd    *exec.Cmd
	alive  *os.File
	output *tail
	done   chan struct{}

	mu   sync.Mutex
	sent map[os.Signal]bool
	err  error
}

// Start runs the program and returns at once; it does not wait for the program
// to be ready. The caller ends it with Stop or Kill.
func Start(config Config) (*Process, error) {
	childEnd, parentEnd, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: open the pipe that ties it to its parent: %w", config.Name, err)
	}
	defer childEnd.Close() // the child has its own copy; nothing was written.

	output := &tail{next: config.Log}
	cmd := exec.Command(config.Path, config.Args...)
	cmd.Dir = config.Dir
	cmd.Env = append(append(os.Environ(), config.Env...), parentPipeEnv())
	cmd.ExtraFiles = []*os.File{childEnd}
	cmd.Stdout, cmd.Stderr = config.Stdout, output
	if config.Stdout == nil {
		cmd.Stdout = output
	}
	cmd.WaitDelay = outputDelay
	cmd.SysProcAttr = attributes()
	p := &Process{
		name: config.Name, cmd: cmd, alive: parentEnd, output: output,
		done: make(chan struct{}), sent: map[os.Signal]bool{},
	}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", config.Name, err), parentEnd.Close())
	}
	return p, nil
}

// run starts the child, says so, and waits for its end. It keeps its thread for as
// long, because to Linux that thread is the child's parent.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.wait()
	}
}

// wait reaps the child and records how it ended.
func (p *Process) wait() {
	err := p.cmd.Wait()
	p.output.flush()
	closeErr := p.alive.Close()

	p.mu.Lock()
	p.err = errors.Join(p.ending(err), closeErr)
	p.mu.Unlock()
	close(p.done)
}

// ending turns what Wait returned into an error that says why, or into nil when
// the child ended well or by a signal that was sent through this Process.
func (p *Process) ending(err error) error {
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() && p.sent[status.Signal()] {
		return nil
	}
	if lines := p.output.last(); lines != "" {
		return fmt.Errorf("%s ended: %w; its last output:\n%s", p.name, err, lines)
	}
	return fmt.Errorf("%s ended without output: %w", p.name, err)
}

// Done is closed when the process has ended and all its output has been written.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process ended, with its last lines of output. It is nil while
// the process runs, after exit status 0 and after a signal that it was sent here.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// PID is the process id; it is also the id of the child's process group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process. It returns an error that wraps
// [os.ErrProcessDone] when the process has ended.
func (p *Process) Signal(signal os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[signal] = true
	if err := p.cmd.Process.Signal(signal); err != nil {
		return fmt.Errorf("send %s to %s: %w", signal, p.name, err)
	}
	return nil
}

// Pause halts the process with SIGSTOP: its sockets stay open and unanswered.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on; it does nothing to a running one.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// Kill ends the process with SIGKILL, as a crash would, and waits for its end.
// It returns nil when the process has ended already.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}

// Stop asks the process to end with SIGTERM, resuming it first if it is paused,
// and waits. When ctx ends before the process does, it is killed and Stop says
// so. Otherwise Stop returns what Err does; calling it again is harmless.
func (p *Process) Stop(ctx context.Context) error {
	select {
	case <-p.done:
		return p.Err()
	default:
	}
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		if err := p.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return errors.Join(err, p.Kill())
		}
	}
	select {
	case <-p.done:
		return p.Err()
	case <-ctx.Done():
		killed := fmt.Errorf("%s did not end after SIGTERM and was killed: %w", p.name, context.Cause(ctx))
		return errors.Join(killed, p.Kill())
	}
}

// ExitCode is the exit status of the process once it has ended: 128 and the signal's number if a signal ended it, as a
// shell and a kubelet have it; -1 while it runs.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
	default:
		return -1
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}
