// Command installer installs Istio from the platform's configuration document, and keeps it as described.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/meshwarden/meshwarden/cmd/webhook/version"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/bootstrap"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/images"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/operator"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/render"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/schema"
)

func main() {
	if err := run(); err != nil {
		if message := err.Error(); message != "" && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, "installer:", message)
		}
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return newCommand().ExecuteContext(ctx)
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "installer",
		Short:         "Installs Istio's operator and control plane from the platform's configuration document.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(bootstrap.NewCommand(), operator.NewCommand(), render.NewCommand(), images.NewCommand(), schema.NewCommand(), version.NewCommand())
	return root
}
