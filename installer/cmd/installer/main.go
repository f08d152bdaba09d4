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
	"github.com/meshwarden/meshwarden/installer/cmd/installer/exitcode"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/images"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/operator"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/render"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/schema"
)

func main() {
	err := run()
	if err != nil && err.Error() != "" && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "installer:", err)
	}
	os.Exit(exitcode.Of(err))
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return execute(ctx, newCommand())
}

// execute runs a command by its arguments. Until it has begun, nothing but these can be wrong.
func execute(ctx context.Context, root *cobra.Command) error {
	begun := false
	root.PersistentPreRun = func(*cobra.Command, []string) { begun = true }
	err := root.ExecuteContext(ctx)
	if !begun {
		return exitcode.OfInput(err)
	}
	return err
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "installer",
		Long: `Installs Istio's operator and control plane from the platform's configuration document.

Exit codes: 0 for success, 78 if nothing was done because the options or the
document are wrong, so that trying again does not help, and 1 for all else.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(bootstrap.NewCommand(), operator.NewCommand(), render.NewCommand(), images.NewCommand(), schema.NewCommand(), version.NewCommand())
	return root
}
