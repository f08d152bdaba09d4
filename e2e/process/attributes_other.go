//go:build !linux

package process

import "syscall"

// attributes has no more to offer here: a child that outlives its parent has to
// find that out by itself, through ParentGone.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
