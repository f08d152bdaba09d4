package main

import (
	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"

	"github.com/meshwarden/meshwarden/e2e/internal/route"
)

// runAPIServer runs kube-apiserver until SIGINT or SIGTERM. It takes all flags of
// the original, and --webhook-routes for the file that says where Services lead.
func runAPIServer(arguments []string, parentGone <-chan struct{}) error {
	go exitOn(parentGone)
	command := app.NewAPIServerCommand()
	routes := command.Flags().String("webhook-routes", "", "file that says where webhook Services lead")
	command.PreRun = func(*cobra.Command, []string) {
		app.SetServiceResolverForTests(route.NewResolver(*routes))
	}
	command.SetArgs(arguments)
	return cli.RunNoErrOutput(command)
}
