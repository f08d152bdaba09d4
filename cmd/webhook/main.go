// Command webhook is Meshwarden: an admission webhook and controller for teams that run Istio.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/meshwarden/meshwarden/cmd/webhook/check"
	"github.com/meshwarden/meshwarden/cmd/webhook/serve"
	"github.com/meshwarden/meshwarden/cmd/webhook/version"
)

func main() {
	err := run()
	if err == nil {
		return
	}
	code := 1
	if exit := new(check.ExitError); errors.As(err, &exit) {
		code = exit.Code
	}
	if message := err.Error(); message != "" {
		fmt.Fprintln(os.Stderr, "webhook:", message)
	}
	os.Exit(code)
}

func run() error {
	root := &cobra.Command{
		Use:           "webhook",
		Short:         "Meshwarden keeps the routing of an Istio mesh honest and onboards its namespaces.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serve.NewCommand(), check.NewCommand(), version.NewCommand())
	return root.Execute()
}
