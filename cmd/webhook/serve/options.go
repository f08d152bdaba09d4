package serve

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/meshwarden/meshwarden/cmd/webhook/meshflags"
	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
	"github.com/meshwarden/meshwarden/pkg/server"
)

// Options are what `webhook serve` can be told. NewOptions returns the defaults, with which it works in a cluster.
type Options struct {
	BindAddress    string
	HealthAddress  string
	MetricsAddress string
	Deadline       time.Duration
	DrainDelay     time.Duration

	certificateOptions

	TLSMinVersion       string
	ClientCAFile        string
	ClientNames         []string
	MaxRequestsInFlight int
	MaxRequestBytes     int64
	RequestTimeout      time.Duration

	Enforcement string
	RuleActions map[string]string
	Overridable []string

	Backfill          string
	ExcludeNamespaces []string

	meshflags.Mesh
	ReadSecrets bool

	Kubeconfig           string
	Namespace            string
	LeaderElect          bool
	WebhookConfiguration string

	LogLevel  string
	LogFormat string
}

// NewOptions returns the defaults.
func NewOptions() *Options {
	return &Options{
		BindAddress:          ":9443",
		HealthAddress:        ":8081",
		MetricsAddress:       ":8080",
		Deadline:             4 * time.Second,
		DrainDelay:           5 * time.Second,
		certificateOptions:   defaultCertificateOptions(),
		TLSMinVersion:        "1.3",
		MaxRequestsInFlight:  200,
		MaxRequestBytes:      largestRequest,
		RequestTimeout:       5 * time.Second,
		Enforcement:          string(policy.Deny),
		Overridable:          []string{"MW207"},
		Backfill:             string(policy.BackfillMissed),
		ExcludeNamespaces:    policy.DefaultExclusions(),
		Mesh:                 meshflags.Default(),
		LeaderElect:          true,
		WebhookConfiguration: "meshwarden",
		LogLevel:             "info",
		LogFormat:            "json",
	}
}

const (
	// longestTimeout is the longest that the API server waits for any webhook.
	longestTimeout = 30 * time.Second
	// largestRequest is the most that an API server sends: an object of 3 MiB before and after (MaxRequestBodyBytes in
	// k8s.io/apiserver/pkg/server/config.go), and what is around them. controller-runtime reads no more than that.
	largestRequest = 7 << 20
)

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
		group("Serving", o.servingFlags),
		group("Certificate", o.addTo),
		group("Connections", o.connectionFlags),
		group("Enforcement", func(f *pflag.FlagSet) {
			f.StringVar(&o.Enforcement, "enforcement", o.Enforcement, "the strictest `action` of any rule: deny, warn or audit (log and count only)")
			f.StringToStringVar(&o.RuleActions, "rule-action", o.RuleActions, "the action of single rules in place of their own, such as `MW207=warn`; may be repeated")
			f.StringSliceVar(&o.Overridable, "overridable", o.Overridable, "the `rules` that an object's annotation meshwarden.io/allow may override; empty forbids it")
		}),
		group("Onboarding", func(f *pflag.FlagSet) {
			f.StringVar(&o.Backfill, "backfill", o.Backfill, "which namespaces that the webhook did not see get label and mark afterwards: missed (younger than Meshwarden), all or none")
			f.StringSliceVar(&o.ExcludeNamespaces, "exclude-namespaces", o.ExcludeNamespaces, "`namespaces` left alone, besides Kubernetes' and Meshwarden's own")
		}),
		group("Mesh", func(f *pflag.FlagSet) {
			o.AddTo(f)
			f.BoolVar(&o.ReadSecrets, "read-secrets", o.ReadSecrets, "follow the Secrets that Gateways ask for, of which the public part is kept: dates, names, and whether key and certificate belong together")
		}),
		group("Cluster", func(f *pflag.FlagSet) {
			f.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "a kubeconfig `file`; empty means the service account of the pod")
			f.StringVar(&o.Namespace, "namespace", o.Namespace, "Meshwarden's own `namespace`; empty means the pod's, or meshwarden outside a cluster")
			f.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect, "let one replica at a time write; all of them serve")
			f.StringVar(&o.WebhookConfiguration, "webhook-configuration", o.WebhookConfiguration, "the `name` of Meshwarden's webhook configurations; the age of the mutating one is the installation's")
		}),
		group("Logging", func(f *pflag.FlagSet) {
			f.StringVar(&o.LogLevel, "log-level", o.LogLevel, "the `level` from which on lines are written: debug, info, warn or error")
			f.StringVar(&o.LogFormat, "log-format", o.LogFormat, "the `format` of the lines: json or console")
		}),
	}
}

func (o *Options) servingFlags(f *pflag.FlagSet) {
	f.StringVar(&o.BindAddress, "bind-address", o.BindAddress, "the `address` that serves admission requests over TLS")
	f.StringVar(&o.HealthAddress, "health-address", o.HealthAddress, "the `address` of /healthz and /readyz; 0 turns them off")
	f.StringVar(&o.MetricsAddress, "metrics-address", o.MetricsAddress, "the `address` of /metrics; 0 turns it off")
	f.DurationVar(&o.Deadline, "deadline", o.Deadline, "how long an answer may take; keep it below the webhooks' timeoutSeconds")
	f.DurationVar(&o.DrainDelay, "drain-delay", o.DrainDelay, "how long to go on serving after SIGTERM, while others learn that this replica is not ready")
}

func (o *Options) connectionFlags(f *pflag.FlagSet) {
	f.StringVar(&o.TLSMinVersion, "tls-min-version", o.TLSMinVersion, "the oldest `version` of TLS: 1.3 or 1.2, the latter with forward secrecy and authenticated encryption alone")
	f.StringVar(&o.ClientCAFile, "client-ca-file", o.ClientCAFile, "a `file` with the CA of those who may connect, read again when it changes; empty means that anybody may")
	f.StringSliceVar(&o.ClientNames, "client-names", o.ClientNames, "of those the common or DNS `names` that may connect; empty means all")
	f.IntVar(&o.MaxRequestsInFlight, "max-requests-in-flight", o.MaxRequestsInFlight, "how many `requests` each webhook has in hand, one for each 64 KiB, before others are told to come again; 0 means no limit")
	f.Int64Var(&o.MaxRequestBytes, "max-request-bytes", o.MaxRequestBytes, "how many `bytes` a request may have; a longer one is refused")
	f.DurationVar(&o.RequestTimeout, "request-timeout", o.RequestTimeout, "how long a request may take to come in, and its answer to go out")
}

// printSections writes the options for people.
func (o *Options) printSections(w io.Writer) {
	for _, s := range o.sections() {
		fmt.Fprintf(w, "\n%s:\n%s", s.name, s.flags.FlagUsages())
	}
}

// settings are the options after validation.
type settings struct {
	*Options
	tlsMinVersion uint16
	rules         []policy.Rule
	backfill      policy.Backfill
	excluded      policy.Exclusions
	mesh          istio.MeshSettings
	log           zap.Config
}

// validate returns the settings, or every fault of the options at once.
func (o *Options) validate() (settings, error) {
	s := settings{Options: o}
	var faults []error
	fault := func(option string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("--%s: %w", option, err))
		}
	}
	var err error
	fault("bind-address", fixedAddress(o.BindAddress))
	fault("health-address", optionalAddress(o.HealthAddress))
	fault("metrics-address", optionalAddress(o.MetricsAddress))
	enforcement, err := policy.ParseAction(o.Enforcement)
	fault("enforcement", err)
	actions, errs := ruleActions(o.RuleActions)
	for _, err := range errs {
		fault("rule-action", err)
	}
	s.rules, err = policy.Configure(policy.Rules(), enforcement, actions)
	fault("rule-action", err)
	for _, id := range o.Overridable {
		if !slices.ContainsFunc(policy.Rules(), func(r policy.Rule) bool { return r.ID == id }) {
			fault("overridable", fmt.Errorf("no rule %q", id))
		}
	}
	s.backfill, err = policy.ParseBackfill(o.Backfill)
	fault("backfill", err)
	s.mesh = o.Settings(fault)
	o.certificateOptions.validate(fault)
	if o.Deadline <= 0 || o.Deadline >= longestTimeout {
		fault("deadline", fmt.Errorf("must be above zero and below %s, the longest timeout of a webhook", longestTimeout))
	}
	if o.DrainDelay < 0 {
		fault("drain-delay", errors.New("must not be below zero"))
	}
	o.validateConnections(&s, fault)
	s.log, err = loggerConfig(o.LogFormat)
	fault("log-format", err)
	s.log.Level, err = logLevel(o.LogLevel)
	fault("log-level", err)
	if o.Namespace == "" {
		o.Namespace = podNamespace()
	}
	fault("namespace", meshflags.NamespaceName(o.Namespace))
	for _, name := range o.ExcludeNamespaces {
		// A name that no namespace can have excludes nothing, and nobody would notice.
		fault("exclude-namespaces", meshflags.NamespaceName(name))
	}
	s.excluded = policy.NewExclusions(o.Namespace, o.ExcludeNamespaces...)
	return s, errors.Join(faults...)
}

func (o *Options) validateConnections(s *settings, fault func(option string, err error)) {
	var err error
	s.tlsMinVersion, err = server.ParseTLSVersion(o.TLSMinVersion)
	fault("tls-min-version", err)
	if len(o.ClientNames) > 0 && o.ClientCAFile == "" {
		fault("client-names", errors.New("needs --client-ca-file: without a CA, anybody can have any name"))
	}
	if o.MaxRequestsInFlight < 0 {
		fault("max-requests-in-flight", errors.New("must not be below zero, which means no limit"))
	}
	if o.MaxRequestBytes <= 0 || o.MaxRequestBytes > largestRequest {
		fault("max-request-bytes", fmt.Errorf("must be above zero and at most %d, which is more than an API server sends", largestRequest))
	}
	if o.RequestTimeout <= 0 || o.RequestTimeout > longestTimeout {
		fault("request-timeout", fmt.Errorf("must be above zero and at most %s, the longest timeout of a webhook", longestTimeout))
	}
}

// ruleActions returns the actions of the rules that exist, and every fault of the others in the order of their IDs.
func ruleActions(written map[string]string) (map[string]policy.Action, []error) {
	actions := map[string]policy.Action{}
	var faults []error
	for _, id := range slices.Sorted(maps.Keys(written)) {
		action, err := policy.ParseAction(written[id])
		if err == nil {
			_, err = policy.Configure(policy.Rules(), policy.Deny, map[string]policy.Action{id: action})
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		actions[id] = action
	}
	return actions, faults
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

// fixedAddress checks an address that others have to know.
func fixedAddress(address string) error {
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return err
	}
	if resolved.Port == 0 {
		return errors.New("the port must not be 0")
	}
	return nil
}

// podNamespace is the namespace of the pod that this process runs in, or the one that the manifests install to.
func podNamespace() string {
	b, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if namespace := strings.TrimSpace(string(b)); err == nil && namespace != "" {
		return namespace
	}
	return "meshwarden"
}
