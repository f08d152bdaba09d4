package version

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

// NewCommand returns `webhook version`, and the same for another program.
func NewCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and what it was built with",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch output {
			case "text":
				_, err := fmt.Fprint(c.OutOrStdout(), Get())
				return err
			case "json":
				encoder := json.NewEncoder(c.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(Get())
			default:
				return fmt.Errorf("unknown --output %q: use text or json", output)
			}
		},
	}
	c.Flags().StringVar(&output, "output", "text", "how to print it: text or json")
	return c
}
