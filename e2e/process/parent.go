package process

import (
	"io"
	"os"
	"strconv"
	"syscall"
)

const (
	parentPipeVariable = "MESHWARDEN_PARENT_PIPE"
	// parentPipeDescriptor is the first descriptor after the standard three, where
	// exec.Cmd puts the first of its ExtraFiles.
	parentPipeDescriptor = 3
)

func parentPipeEnv() string {
	return parentPipeVariable + "=" + strconv.Itoa(parentPipeDescriptor)
}

// ParentGone returns a channel that is closed when the process that started this
// one through [Start] has ended, however it ended. In a process that was started
// otherwise the channel is never closed. To be called once, early in main.
//
// It works by an inherited pipe, whose other end the kernel closes on every Unix.
func ParentGone() <-chan struct{} {
	gone := make(chan struct{})
	descriptor, err := strconv.Atoi(os.Getenv(parentPipeVariable))
	if err != nil {
		return gone
	}
	// The pipe is this process's alone: its own children get neither the variable
	// nor the descriptor.
	_ = os.Unsetenv(parentPipeVariable)
	syscall.CloseOnExec(descriptor)
	pipe := os.NewFile(uintptr(descriptor), "parent")
	go func() {
		// Nothing is ever written, so any return means that the other end is gone.
		_, _ = io.Copy(io.Discard, pipe)
		close(gone)
	}()
	return gone
}
