// Command controlplane runs a Kubernetes control plane on this machine.
//
// "controlplane start" is the command to use: it starts the other subcommands, each
// of which is one role, as its children.
package main

import (
	"fmt"
	"os"

	"github.com/meshwarden/meshwarden/e2e/process"
)

const usage = "usage: controlplane start [--dir DIR] [--without-controller-manager] [--nodes N] [--log FILE] " +
	"[--route NAMESPACE/SERVICE:PORT=ADDRESS]..."

func main() {
	commands := map[string]func(arguments []string, parentGone <-chan struct{}) error{
		"start":              start,
		"etcd":               runEtcd,
		"apiserver":          runAPIServer,
		"controller-manager": runControllerManager,
		"scheduler":          runScheduler,
		"kwok":               runKwok,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:], process.ParentGone()); err != nil {
		fmt.Fprintf(os.Stderr, "controlplane %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
