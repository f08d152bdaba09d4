// Package operator is the command that keeps Istio as IstioOperators describe it: flags and wiring. It decides nothing.
package operator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/spf13/cobra"
	"istio.io/istio/pkg/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/meshwarden/meshwarden/cmd/webhook/version"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/exitcode"
	"github.com/meshwarden/meshwarden/installer/pkg/operator"
	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// NewCommand returns `installer operator`.
func NewCommand() *cobra.Command {
	o := NewOptions()
	c := &cobra.Command{
		Use:   "operator",
		Short: "Keep Istio in the cluster as IstioOperators describe it",
		Long: `Keep Istio in the cluster as IstioOperators describe it.

It reconciles the IstioOperators of the watched namespaces: applies what Istio's
own charts render for them, removes what they no longer ask for, repairs what
others change, and reports in their status how far that is. One replica works;
others stand by.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := o.validate()
			if err != nil {
				return exitcode.OfInput(err)
			}
			log, err := config.Build()
			if err != nil {
				return fmt.Errorf("cannot set up logging: %w", err)
			}
			// Kubernetes' libraries log through these two.
			ctrl.SetLogger(zapr.NewLogger(log))
			klog.SetLogger(zapr.NewLogger(log))
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return run(ctx, o, zapr.NewLogger(log))
		},
	}
	for _, s := range o.sections() {
		c.Flags().AddFlagSet(s.flags)
	}
	c.SetUsageFunc(func(c *cobra.Command) error {
		_, err := fmt.Fprintf(c.OutOrStderr(), "Usage:\n  %s --watch-namespaces=NAMESPACE[,…] [options]\n", c.CommandPath())
		NewOptions().printSections(c.OutOrStderr())
		return err
	})
	return c
}

// run reconciles until the context ends.
func run(ctx context.Context, o *Options, log logr.Logger) error {
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return fmt.Errorf("cannot find the API server; outside a cluster, give --kubeconfig: %w", err)
	}
	config.QPS = -1 // the API server's fairness is the limit
	config.UserAgent = operator.FieldManager
	cache, err := operator.CacheOptions(o.WatchNamespaces)
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              operator.FieldManager,
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true, // the process ends right after, so nothing of it writes any more
		HealthProbeBindAddress:        o.HealthAddress,
		Metrics:                       metricsserver.Options{BindAddress: o.MetricsAddress},
		Cache:                         cache,
		MapperProvider:                operator.NewMapper,
	})
	if err != nil {
		return fmt.Errorf("cannot set up the manager with the API server at %s: %w", config.Host, err)
	}
	cluster, err := kube.NewClient(kube.NewClientConfigForRestConfig(config), "")
	if err != nil {
		return fmt.Errorf("cannot set up Istio's client with the API server at %s: %w", config.Host, err)
	}
	built := version.Get()
	err = operator.Setup(mgr, operator.Options{
		Namespaces: o.WatchNamespaces,
		Version:    operator.LabelValue(built.Version),
		Render:     func(u *unstructured.Unstructured) (render.Rendering, error) { return render.Render(u, cluster) },
		Metrics:    metrics.Registry,
		Clock:      clock.RealClock{},
	})
	if err != nil {
		return fmt.Errorf("cannot set up the operator: %w", err)
	}
	if err := version.RegisterMetric(metrics.Registry); err != nil {
		return err
	}
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("istiooperators", operator.Ready(mgr.GetCache()))); err != nil {
		return fmt.Errorf("cannot add /healthz and /readyz: %w", err)
	}
	log.Info("starting", "version", built.Version, "commit", built.Commit, "namespaces", o.WatchNamespaces)
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("stopped: %w", err)
	}
	return nil
}
