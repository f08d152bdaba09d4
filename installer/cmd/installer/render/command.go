// Package render is the command that prints the objects to which a configuration document leads.
package render

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/installer/cmd/installer/documentflags"
)

// NewCommand returns `installer render`.
func NewCommand() *cobra.Command {
	o := &documentflags.Options{}
	c := &cobra.Command{
		Use:   "render [flags] FILE|-",
		Short: "Print every object that the configuration document leads to",
		Long: `Print every object that the platform's configuration document leads to, as YAML:
the namespaces, the operator's own objects, the IstioOperator, and what the
operator will apply for that. FILE holds the document; - is standard input.

No cluster is asked. In a cluster the operator also takes its version into
account, and adds the labels by which it knows its objects again. On
standard error is what Istio finds doubtful.`,
		Example: `  installer render --image-registry registry.example.com:5000 document.yaml
  installer render - < document.yaml | less`,
		Args: documentflags.Argument,
		RunE: func(c *cobra.Command, args []string) error {
			i, err := o.Load(args[0], c.InOrStdin())
			if err != nil {
				return err
			}
			if !i.Document.Enabled {
				fmt.Fprintln(c.ErrOrStderr(), documentflags.Disabled)
				return nil
			}
			i.PrintNotes(c.ErrOrStderr())
			for _, w := range i.Rendering.Warnings {
				fmt.Fprintln(c.ErrOrStderr(), "warning:", w)
			}
			return write(c.OutOrStdout(), parts(i))
		},
	}
	c.Flags().SortFlags = false
	o.AddTo(c.Flags())
	return c
}

// part is what stands under one heading.
type part struct {
	heading string
	objects []*unstructured.Unstructured
}

// parts returns an installation in the order in which it comes about.
func parts(i documentflags.Installation) []part {
	all := []part{
		{"namespaces", i.Plan.Namespaces},
		{"operator", i.Plan.Operator},
		{"IstioOperator", []*unstructured.Unstructured{i.Plan.IstioOperator}},
	}
	for _, c := range i.Rendering.Components {
		all = append(all, part{"applied by the operator: " + c.Name, c.Objects})
	}
	return all
}

func write(w io.Writer, parts []part) error {
	for _, p := range parts {
		for _, o := range p.objects {
			text, err := yaml.Marshal(o.Object)
			if err != nil {
				return fmt.Errorf("cannot print %s %s: %w", o.GetKind(), o.GetName(), err)
			}
			if _, err := fmt.Fprintf(w, "---\n# %s\n%s", p.heading, text); err != nil {
				return fmt.Errorf("cannot print: %w", err)
			}
		}
	}
	return nil
}
