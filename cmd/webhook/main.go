// Command webhook is Meshwarden: an admission webhook and controller for teams that run Istio.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/meshwarden/meshwarden/cmd/webhook/serve"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "webhook:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:           "webhook",
		Short:         "Meshwarden keeps the routing of an Istio mesh honest and onboards its namespaces.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serve.NewCommand())
	return root.ExecuteContext(ctx)
}
