//go:build !nocontrollermanager

package main

import (
	"context"
	"os/signal"
	"syscall"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// runScheduler runs kube-scheduler, with the flags of the original, until SIGINT or SIGTERM.
func runScheduler(arguments []string, parentGone <-chan struct{}) error {
	go exitOn(parentGone)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	command := app.NewSchedulerCommand()
	command.SetArgs(arguments)
	err := cli.RunNoErrOutput(command)
	// Without leader election, it takes its own end for an error.
	if ctx.Err() != nil {
		return nil
	}
	return err
}
