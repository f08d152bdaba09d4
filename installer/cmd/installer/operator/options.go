package operator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Options are what `installer operator` can be told. NewOptions returns the defaults, with which it works in a cluster, given namespaces to watch.
type Options struct {
	WatchNamespaces []string

	Kubeconfig  string
	Namespace   string
	LeaderElect bool

	HealthAddress  string
	MetricsAddress string

	LogLevel  string
	LogFormat string
}

// NewOptions returns the defaults.
func NewOptions() *Options {
	return &Options{LeaderElect: true, HealthAddress: ":8081", MetricsAddress: ":8080", LogLevel: "info", LogFormat: "json"}
}

// section is a group of options that belong together.
type section struct {
	name  string
	flags *pflag.FlagSet
}

// sections returns the options as flags, in the order in which help shows them.
func (o *Options) sections() []section {
	group := func(name string, define func(*pflag.FlagSet)) section {
		flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
		flags.SortFlags = false
		define(flags)
		return section{name: name, flags: flags}
	}
	return []section{
		group("Istio", func(f *pflag.FlagSet) {
			f.StringSliceVar(&o.WatchNamespaces, "watch-namespaces", o.WatchNamespaces, "the `namespaces` whose IstioOperators are reconciled; required")
		}),
		group("Cluster", func(f *pflag.FlagSet) {
			f.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "a kubeconfig `file`; empty means the service account of the pod")
			f.StringVar(&o.Namespace, "namespace", o.Namespace, "the `namespace` of the operator's own Lease; empty means the pod's, or istio-operator outside a cluster")
			f.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect, "let one replica at a time work; the others wait")
		}),
		group("Serving", func(f *pflag.FlagSet) {
			f.StringVar(&o.HealthAddress, "health-address", o.HealthAddress, "the `address` of /healthz and /readyz; 0 turns them off")
			f.StringVar(&o.MetricsAddress, "metrics-address", o.MetricsAddress, "the `address` of /metrics; 0 turns it off")
		}),
		group("Logging", func(f *pflag.FlagSet) {
			f.StringVar(&o.LogLevel, "log-level", o.LogLevel, "the `level` from which on lines are written: debug, info, warn or error")
			f.StringVar(&o.LogFormat, "log-format", o.LogFormat, "the `format` of the lines: json or console")
		}),
	}
}

// printSections writes the options for people.
func (o *Options) printSections(w io.Writer) {
	for _, s := range o.sections() {
		fmt.Fprintf(w, "\n%s:\n%s", s.name, s.flags.FlagUsages())
	}
}

// validate completes the options and returns how to log, or every fault of them at once.
func (o *Options) validate() (zap.Config, error) {
	var faults []error
	fault := func(option string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("--%s: %w", option, err))
		}
	}
	if len(o.WatchNamespaces) == 0 {
		fault("watch-namespaces", errors.New("name at least one"))
	}
	for _, n := range o.WatchNamespaces {
		fault("watch-namespaces", namespaceName(n))
	}
	if o.Namespace == "" {
		o.Namespace = podNamespace()
	}
	fault("namespace", namespaceName(o.Namespace))
	fault("health-address", optionalAddress(o.HealthAddress))
	fault("metrics-address", optionalAddress(o.MetricsAddress))
	log, err := loggerConfig(o.LogFormat)
	fault("log-format", err)
	log.Level, err = zap.ParseAtomicLevel(o.LogLevel)
	if err != nil {
		fault("log-level", fmt.Errorf("%w: use debug, info, warn or error", err))
	}
	return log, errors.Join(faults...)
}

// loggerConfig returns how to log in the format, or an error that lists the formats.
func loggerConfig(format string) (zap.Config, error) {
	config := zap.NewProductionConfig()
	config.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	config.DisableStacktrace = true
	// What was done to a cluster must not be missing from the log because there was much of it.
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

func namespaceName(name string) error {
	if faults := validation.IsDNS1123Label(name); len(faults) > 0 {
		return fmt.Errorf("%q cannot be a namespace: %s", name, strings.Join(faults, "; "))
	}
	return nil
}

// optionalAddress checks an address that may be 0, for none.
func optionalAddress(address string) error {
	if address == "0" {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	return err
}

// podNamespace is the namespace of the pod that this process runs in, or the one that the bootstrap installs to by default.
func podNamespace() string {
	b, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if namespace := strings.TrimSpace(string(b)); err == nil && namespace != "" {
		return namespace
	}
	return "istio-operator"
}
