// Package check is the command that judges files without a cluster: flags and exit codes around pkg/check.
package check

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshwarden/meshwarden/pkg/check"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// ExitError ends the program with a code of its own. Err is nil where everything has been printed already.
type ExitError struct {
	Code int
	Err  error
}

// Error implements error.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap returns what is wrong, or nil.
func (e *ExitError) Unwrap() error {
	return e.Err
}

// The exit codes besides 0.
const (
	exitFindings = 1
	exitUnusable = 2
)

// NewCommand returns `webhook check`.
func NewCommand() *cobra.Command {
	o := newOptions()
	c := &cobra.Command{
		Use:   "check PATH...",
		Short: "Judge files by the rules, without a cluster",
		Long: `Judge the Gateways and VirtualServices in files by the rules, without a cluster.

A PATH is a file, a folder (its .yaml, .yml and .json files and those of the
folders in it, except hidden ones), or - for standard input. What a verdict
depends on should be in the same input: the Gateways that VirtualServices name,
the workloads and Services behind the Gateways, and the Secrets or Certificates
(cert-manager) that they ask for. Mesh-wide settings are read from Istio's
ConfigMap and istiod's Deployment if they are in the input. Objects that were
never stored count as applied in the order of the input. Objects of other kinds
are counted and left alone.

Exit status: 0 when nothing is found at or above --fail-on, 1 when something is,
2 when something cannot be judged; standard error says what, and on which line.`,
		Example: `  webhook check deploy/
  helm template shop ./chart | webhook check -
  kustomize build overlays/prod | webhook check --namespace shop --output github -
  kubectl get gateways,virtualservices,services,deployments -A -o yaml | webhook check -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return unusable(errors.New("name a file, a folder, or - for standard input"))
			}
			return nil
		},
		RunE: func(c *cobra.Command, paths []string) error {
			return o.run(paths, c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return unusable(err) })
	for _, s := range o.sections() {
		c.Flags().AddFlagSet(s.flags)
	}
	c.SetUsageFunc(func(c *cobra.Command) error {
		_, err := fmt.Fprintf(c.OutOrStderr(), "Usage:\n  %s [options] PATH...\n\nExamples:\n%s\n", c.CommandPath(), c.Example)
		newOptions().printSections(c.OutOrStderr())
		return err
	})
	return c
}

func unusable(err error) error {
	return &ExitError{Code: exitUnusable, Err: err}
}

func (o *options) run(paths []string, in io.Reader, out, errs io.Writer) error {
	s, err := o.validate()
	if err != nil {
		return unusable(err)
	}
	s.check.Now = time.Now()
	report, err := check.Run(s.check, paths, in)
	if err != nil {
		return unusable(err)
	}
	for _, p := range report.Notes {
		fmt.Fprintln(errs, "note:", p)
	}
	for _, p := range report.Problems {
		fmt.Fprintln(errs, "error:", p)
	}
	if err := report.Write(out, s.format, colourful(out)); err != nil {
		return unusable(fmt.Errorf("cannot print the report: %w", err))
	}
	switch {
	case len(report.Problems) > 0:
		return unusable(nil)
	case report.Count(policy.Deny) > 0, s.failOn == policy.Warn && report.Count(policy.Warn) > 0:
		return &ExitError{Code: exitFindings}
	}
	return nil
}

// colourful says whether to print colours: to a terminal, unless its user wants none (no-color.org).
func colourful(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
