package process

import "syscall"

// attributes has the kernel kill the child when the thread that started it ends,
// which run makes sure is not before the child does unless the parent dies. This
// reaches what ParentGone cannot: a paused child and one that does not call it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
