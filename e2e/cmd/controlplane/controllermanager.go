//go:build !nocontrollermanager

package main

import (
	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// runControllerManager runs kube-controller-manager, with the flags of the original,
// until SIGINT or SIGTERM.
func runControllerManager(arguments []string, parentGone <-chan struct{}) error {
	go exitOn(parentGone)
	command := app.NewControllerManagerCommand()
	command.SetArgs(arguments)
	return cli.RunNoErrOutput(command)
}
