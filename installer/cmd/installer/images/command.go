// Package images is the command that lists the images which a configuration document needs.
package images

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meshwarden/meshwarden/installer/cmd/installer/documentflags"
	"github.com/meshwarden/meshwarden/installer/pkg/installation"
)

// NewCommand returns `installer images`.
func NewCommand() *cobra.Command {
	o := &documentflags.Options{}
	var sources bool
	c := &cobra.Command{
		Use:   "images [flags] FILE|-",
		Short: "Print every image that the configuration document needs",
		Long: `Print every image that the platform's configuration document needs, one a line, to
mirror them: the operator's, Istio's own, and that of the proxies which istiod
puts into pods. FILE holds the document; - is standard input. No cluster is asked.

Where the document takes its images from the local registry, these are the names
there; --sources prints before each the name under which it is published.`,
		Example: `  installer images --image-registry registry.example.com:5000 document.yaml
  installer images --image-registry registry.example.com:5000 --sources document.yaml |
    while read -r source image; do crane copy "$source" "$image"; done`,
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
			for _, image := range i.Images() {
				if sources {
					fmt.Fprint(c.OutOrStdout(), installation.Source(image, o.ImageRegistry), " ")
				}
				fmt.Fprintln(c.OutOrStdout(), image)
			}
			return nil
		},
	}
	c.Flags().SortFlags = false
	o.AddTo(c.Flags())
	c.Flags().BoolVar(&sources, "sources", false, "print before each image, and a space, the name under which it is published")
	return c
}
