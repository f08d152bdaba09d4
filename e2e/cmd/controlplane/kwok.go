//go:build !nocontrollermanager

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	"sigs.k8s.io/kwok/pkg/config"
	"sigs.k8s.io/kwok/pkg/kwok/cmd"
	"sigs.k8s.io/kwok/pkg/log"
)

// runKwok runs KWOK, with the flags of the original, until SIGINT or SIGTERM. KWOK finds some of its flags in the program's
// own command line, where arguments are as well.
func runKwok(arguments []string, parentGone <-chan struct{}) error {
	go exitOn(parentGone)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		// It has nothing to put in order, and takes the end of its context for an error.
		<-signals
		os.Exit(0)
	}()
	global := pflag.NewFlagSet("kwok", pflag.ContinueOnError)
	global.ParseErrorsAllowlist.UnknownFlags = true
	ctx, _ := log.InitFlags(context.Background(), global)
	ctx, err := config.InitFlags(ctx, global)
	if err != nil {
		return fmt.Errorf("read KWOK's configuration: %w", err)
	}
	command := cmd.NewCommand(ctx)
	command.PersistentFlags().AddFlagSet(global)
	// Its flag --version would be in the way of the one that Kubernetes has for all commands of a program.
	command.Version = ""
	command.SetArgs(arguments)
	return command.ExecuteContext(ctx)
}
