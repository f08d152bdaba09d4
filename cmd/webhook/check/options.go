package check

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/pflag"

	"github.com/meshwarden/meshwarden/cmd/webhook/meshflags"
	"github.com/meshwarden/meshwarden/pkg/check"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// options are what `webhook check` can be told.
type options struct {
	output string
	failOn string

	ruleActions map[string]string

	namespace string
	mesh      meshflags.Mesh
}

func newOptions() *options {
	return &options{
		output: string(check.Text), failOn: string(policy.Deny), namespace: "default", mesh: meshflags.Default(),
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
		group("Mesh", o.mesh.AddTo),
	}
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
	s := settings{check: check.Options{Namespace: o.namespace, IstioNamespace: o.mesh.IstioNamespace}}
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
	fault("namespace", meshflags.NamespaceName(o.namespace))
	s.check.Mesh = o.mesh.Settings(fault)
	return s, errors.Join(faults...)
}
