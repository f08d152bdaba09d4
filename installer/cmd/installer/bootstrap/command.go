// Package bootstrap is the command that installs what the configuration document describes: flags and wiring. It decides
// nothing.
package bootstrap

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/cmd/webhook/version"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/documentflags"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/exitcode"
	"github.com/meshwarden/meshwarden/installer/pkg/bootstrap"
	"github.com/meshwarden/meshwarden/installer/pkg/bootstrap/preflight"
	"github.com/meshwarden/meshwarden/installer/pkg/operator"
)

// options are those of the command.
type options struct {
	document            documentflags.Options
	kubeconfig, context string
	timeout             time.Duration
	dryRun              bool
}

const long = `Install Istio's operator and, through it, the control plane, as the platform's
configuration document describes them.

FILE holds the document, beside others if you like; - is standard input. Of a
document of kind configuration/applications the application istio is read; with
enabled: false nothing is done.

First the cluster is asked whether anything is in the way: its version, your
rights, another Istio, webhooks, pod security. If so, all of that is listed and
nothing is changed. Then namespaces and operator are applied; when the operator
is available, the IstioOperator is; and the command waits until the operator
reports the control plane healthy.

It can be run again at any time: it changes nothing where nothing is different,
goes on where it stopped, and upgrades when the document has changed.

The cluster is the one of --kubeconfig, of $KUBECONFIG or ~/.kube/config, or that
of the pod in which the command runs.

The exit code is 0 when Istio is installed or not enabled; 78 when nothing was done
because the document or the options are wrong: trying again does not help; and 1
when something else is in the way or goes wrong.`

const example = `  installer bootstrap document.yaml
  installer bootstrap --dry-run document.yaml
  installer bootstrap --image-registry registry.example.com:5000 - < document.yaml`

// cluster returns access to the cluster that the options name, as kubectl finds it.
func (o *options) cluster() (preflight.Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.context})
	config, err := loader.ClientConfig()
	if err != nil {
		return preflight.Cluster{}, exitcode.OfInput(fmt.Errorf("cannot find the cluster; name it by --kubeconfig or $KUBECONFIG: %w", err))
	}
	config.QPS = -1 // the API server's fairness is the limit
	config.UserAgent = bootstrap.FieldManager
	config.WarningHandler = rest.NoWarnings{}
	c, err := client.New(config, client.Options{})
	if err != nil {
		return preflight.Cluster{}, fmt.Errorf("cannot reach the cluster at %s: %w", config.Host, err)
	}
	asking, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return preflight.Cluster{}, fmt.Errorf("cannot reach the cluster at %s: %w", config.Host, err)
	}
	return preflight.Cluster{Client: c, Version: asking.ServerVersion}, nil
}

// run does what the document in the file asks for.
func (o *options) run(c *cobra.Command, file string) error {
	if o.timeout <= 0 {
		return exitcode.OfInput(fmt.Errorf("--timeout %s: give a time to wait, such as 10m", o.timeout))
	}
	i, err := o.document.Load(file, c.InOrStdin())
	if err != nil {
		return err
	}
	if !i.Document.Enabled {
		fmt.Fprintln(c.OutOrStdout(), documentflags.Disabled)
		return nil
	}
	cluster, err := o.cluster()
	if err != nil {
		return err
	}
	i.PrintNotes(c.OutOrStdout())
	for _, w := range i.Rendering.Warnings {
		fmt.Fprintln(c.OutOrStdout(), "warning:", w)
	}
	b := bootstrap.Bootstrap{Cluster: cluster, Out: c.OutOrStdout(), Timeout: o.timeout}
	if o.document.OperatorImage == "" {
		b.OperatorVersion = operator.LabelValue(version.Get().Version) // as the operator writes its own
	}
	t := preflight.Target{Plan: i.Plan, Watched: i.Document.Watched, Rendering: i.Rendering}
	if o.dryRun {
		return b.DryRun(c.Context(), t)
	}
	return b.Install(c.Context(), t)
}

// NewCommand returns `installer bootstrap`.
func NewCommand() *cobra.Command {
	o := &options{timeout: 10 * time.Minute}
	c := &cobra.Command{
		Use:     "bootstrap [flags] FILE|-",
		Short:   "Install what the configuration document describes",
		Long:    long,
		Example: example,
		Args:    documentflags.Argument,
		RunE:    func(c *cobra.Command, args []string) error { return o.run(c, args[0]) },
	}
	flags := c.Flags()
	flags.SortFlags = false
	o.document.AddTo(flags)
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "the kubeconfig `file`")
	flags.StringVar(&o.context, "context", "", "the `name` of the kubeconfig's context")
	flags.DurationVar(&o.timeout, "timeout", o.timeout, "how long to wait for operator and control plane together")
	flags.BoolVar(&o.dryRun, "dry-run", false, "print what would be changed as a diff against the cluster, and change nothing")
	return c
}
