// Package schema is the command that prints the JSON Schema of the configuration document.
package schema

import (
	"github.com/spf13/cobra"

	"github.com/meshwarden/meshwarden/installer/pkg/document"
)

// NewCommand returns `installer schema`.
func NewCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration document",
		Long: `Print the JSON Schema (draft 2020-12) of a document of kind
configuration/applications, as far as it is about Istio: for editors, which can
complete and check a document with it while it is written, and for CI.`,
		Example: `  installer schema > applications.schema.json`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(document.Schema())
			return err
		},
	}
}
