package check

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/meshwarden/meshwarden/pkg/check"
	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// options are what `webhook check` can be told.
type options struct {
	output string
	failOn string

	ruleActions map[string]string

	namespace      string
	istioNamespace string

	clusterDomain   string
	rootNamespace   string
	defaultExportTo []string
	scopeGateways   string
}

func newOptions() *options {
	return &options{
		output: string(check.Text), failOn: string(policy.Deny), namespace: "default", istioNamespace: "istio-system", scopeGateways: scopeAuto,
	}
}

// section is a group of options that belong together.
type section struct {
	name  string
	flags *pflag.FlagSet
}

// sections returns the options as flags, in the order in which help shows them.
func (o *options) sections() []section {
	group := func(name string, define func(*pflag.FlagSet)) section {
		flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
		flags.SortFlags = false
		define(flags)
		return section{name: name, flags: flags}
	}
	return []section{
		group("Report", func(f *pflag.FlagSet) {
			f.StringVar(&o.output, "output", o.output, "the `format` of the report: text, json, sarif or github (workflow commands)")
			f.StringVar(&o.failOn, "fail-on", o.failOn, "the mildest `action` that makes the exit status 1: deny or warn")
			f.StringToStringVar(&o.ruleActions, "rule-action", nil, "the action of single rules in place of their own, such as `MW102=warn`; may be repeated")
		}),
		group("Input", func(f *pflag.FlagSet) {
			f.StringVar(&o.namespace, "namespace", o.namespace, "the `namespace` of objects that name none")
		}),
		group("Mesh", o.meshFlags),
	}
}

func (o *options) meshFlags(f *pflag.FlagSet) {
	f.StringVar(&o.istioNamespace, "istio-namespace", o.istioNamespace, "the `namespace` of istiod and its ConfigMap, which the mesh's settings are read from if they are in the input; the options below come first")
	f.StringVar(&o.clusterDomain, "cluster-domain", o.clusterDomain, "the `domain` in which short host names end; empty means istiod's --domain, or cluster.local")
	f.StringSliceVar(&o.defaultExportTo, "default-export-to", o.defaultExportTo, "the `namespaces` that see a VirtualService without exportTo, where . is its own and * is every one; empty means the mesh's defaultVirtualServiceExportTo")
	f.StringVar(&o.scopeGateways, "scope-gateways", o.scopeGateways, "`whether` Gateways select workloads of their own namespace only: true, false, or auto for istiod's PILOT_SCOPE_GATEWAY_TO_NAMESPACE")
	f.StringVar(&o.rootNamespace, "root-namespace", o.rootNamespace, "the `namespace` whose configuration counts for the whole mesh; empty means the mesh's rootNamespace")
}

// printSections writes the options for people.
func (o *options) printSections(w io.Writer) {
	for _, s := range o.sections() {
		fmt.Fprintf(w, "\n%s:\n%s", s.name, s.flags.FlagUsages())
	}
}

// settings are the options after validation.
type settings struct {
	check  check.Options
	format check.Format
	failOn policy.Action
}

// validate returns the settings, or every fault of the options at once.
func (o *options) validate() (settings, error) {
	var faults []error
	fault := func(option string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("--%s: %w", option, err))
		}
	}
	s := settings{check: check.Options{Namespace: o.namespace, IstioNamespace: o.istioNamespace}}
	var err error
	s.format, err = check.ParseFormat(o.output)
	fault("output", err)
	s.failOn = policy.Action(o.failOn)
	if s.failOn != policy.Deny && s.failOn != policy.Warn {
		fault("fail-on", fmt.Errorf("unknown action %q: use deny or warn", o.failOn))
	}
	actions := map[string]policy.Action{}
	for _, id := range slices.Sorted(maps.Keys(o.ruleActions)) {
		actions[id], err = policy.ParseAction(o.ruleActions[id])
		fault("rule-action", err)
	}
	s.check.Rules, err = policy.Configure(policy.Rules(), policy.Deny, actions)
	fault("rule-action", err)
	fault("namespace", namespaceName(o.namespace))
	s.check.Mesh = o.meshSettings(fault)
	return s, errors.Join(faults...)
}

// scopeAuto leaves it to istiod whether Gateways are scoped.
const scopeAuto = "auto"

// meshSettings returns what the options say of the mesh. What they leave to be read is empty.
func (o *options) meshSettings(fault func(option string, err error)) istio.MeshSettings {
	given := istio.MeshSettings{ClusterDomain: o.clusterDomain, RootNamespace: o.rootNamespace}
	fault("istio-namespace", namespaceName(o.istioNamespace))
	if problems := validation.IsDNS1123Subdomain(o.clusterDomain); o.clusterDomain != "" && len(problems) > 0 {
		fault("cluster-domain", errors.New(strings.Join(problems, "; ")))
	}
	for _, namespace := range o.defaultExportTo {
		if namespace != "." && namespace != "*" {
			fault("default-export-to", namespaceName(namespace))
		}
		given.DefaultExportTo = append(given.DefaultExportTo, namespace)
	}
	switch o.scopeGateways {
	case scopeAuto:
	case "true", "false":
		given.ScopeGateways = new(o.scopeGateways == "true")
	default:
		fault("scope-gateways", fmt.Errorf("must be true, false or %s", scopeAuto))
	}
	if o.rootNamespace != "" {
		fault("root-namespace", namespaceName(o.rootNamespace))
	}
	return given
}

func namespaceName(name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("%q is no name of a namespace: %s", name, strings.Join(problems, "; "))
	}
	return nil
}
