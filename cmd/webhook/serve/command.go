// Package serve is the command that answers admission requests and runs the controllers: flags, wiring and the order of
// starting and stopping. It decides nothing.
package serve

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/zapr"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// NewCommand returns `webhook serve`.
func NewCommand() *cobra.Command {
	o := NewOptions()
	c := &cobra.Command{
		Use:   "serve",
		Short: "Answer admission requests and keep namespaces onboarded",
		Long: `Answer admission requests and keep namespaces onboarded.

Every replica judges Gateways and VirtualServices and labels new namespaces; the
leader alone writes NetworkPolicies, backfills namespaces and reports on stored
objects. The defaults are for a pod in a cluster.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.validate()
			if err != nil {
				return err
			}
			log, err := s.log.Build(zap.WrapCore(newQuiet))
			if err != nil {
				return fmt.Errorf("cannot set up logging: %w", err)
			}
			// Kubernetes' libraries log through these two.
			ctrl.SetLogger(zapr.NewLogger(log))
			klog.SetLogger(zapr.NewLogger(log))
			// The standard library's servers tell of failed handshakes through its own logger.
			defer zap.RedirectStdLog(log)()
			// Whoever asks for an end gets it after the requests in flight are answered.
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return run(ctx, s, zapr.NewLogger(log))
		},
	}
	for _, s := range o.sections() {
		c.Flags().AddFlagSet(s.flags)
	}
	c.SetUsageFunc(func(c *cobra.Command) error {
		_, err := fmt.Fprintf(c.OutOrStderr(), "Usage:\n  %s [options]\n", c.CommandPath())
		NewOptions().printSections(c.OutOrStderr())
		return err
	})
	return c
}

// loggerConfig returns how to log in the format, or an error that lists the formats.
func loggerConfig(format string) (zap.Config, error) {
	config := zap.NewProductionConfig()
	config.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	config.DisableStacktrace = true
	// A decision must not be missing from the log because there were many.
	config.Sampling = nil
	switch format {
	case "json":
	case "console":
		config.Encoding = "console"
		config.EncoderConfig.EncodeLevel = zapcore.CapitalLevelEncoder
	default:
		return config, fmt.Errorf("unknown format %q: use json or console", format)
	}
	return config, nil
}

// logLevel returns the level of that name, or an error that lists what can be asked for.
func logLevel(name string) (zap.AtomicLevel, error) {
	level, err := zap.ParseAtomicLevel(name)
	if err != nil {
		return level, fmt.Errorf("%w: use debug, info, warn or error", err)
	}
	return level, nil
}
