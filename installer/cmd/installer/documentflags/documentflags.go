// Package documentflags has what the commands have in common that take the platform's configuration document: the argument that names it, the options
// beside it, and what comes of both.
package documentflags

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/meshwarden/meshwarden/cmd/webhook/version"
	"github.com/meshwarden/meshwarden/installer/cmd/installer/exitcode"
	"github.com/meshwarden/meshwarden/installer/pkg/document"
	"github.com/meshwarden/meshwarden/installer/pkg/installation"
	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// maxBytes is the size of the largest document that is read. The platform's are a few hundred lines.
const maxBytes = 16 << 20

// StandardInput is the argument that stands for it.
const StandardInput = "-"

// Options are the options as they are given.
type Options struct {
	ImageRegistry string
	OperatorImage string
}

// AddTo defines the flags.
func (o *Options) AddTo(f *pflag.FlagSet) {
	f.StringVar(&o.ImageRegistry, "image-registry", o.ImageRegistry,
		"the `address` of the local image registry, HOST or HOST:PORT without a scheme or a path; all images come from there (Istio's from HOST/istio) where the document has use_local_image_registry: true, or has it not at all")
	f.StringVar(&o.OperatorImage, "operator-image", o.OperatorImage,
		"the `image` of the operator, in full; empty means meshwarden/installer in this program's version, from the local registry where the document asks for that")
}

// Installation is a document and what comes of it.
type Installation struct {
	Document document.Document
	// Where the document is not enabled, there is nothing else.
	Plan      installation.Plan
	Rendering render.Rendering // what the operator will apply, as far as that can be known without a cluster
	// Notes say what works, but is hardly meant.
	Notes []string
}

// Images returns every image that is needed, each once and sorted: the operator's, Istio's, and that of the proxies which istiod puts into pods.
func (i Installation) Images() []string {
	operator := render.Rendering{Components: []render.Component{{Objects: i.Plan.Operator}}}
	images := slices.Concat(render.Images(operator), render.Images(i.Rendering))
	slices.Sort(images)
	return slices.Compact(images)
}

// PrintNotes prints the notes, one a line.
func (i Installation) PrintNotes(w io.Writer) {
	for _, n := range i.Notes {
		fmt.Fprintln(w, "note:", n)
	}
}

// Load reads the document from a file or, for "-", from in. The error names everything that is wrong with the document, its values included,
// and is marked by package exitcode as one of the input, unless it is one of this machine.
func (o *Options) Load(file string, in io.Reader) (Installation, error) {
	d, err := read(file, in)
	if err != nil || !d.Enabled {
		return Installation{Document: d}, exitcode.OfInput(err)
	}
	plan, err := installation.New(d, installation.Options{
		ImageRegistry: o.ImageRegistry, OperatorImage: o.OperatorImage, Version: version.Get().Version,
	})
	if err != nil {
		return Installation{}, exitcode.OfInput(err)
	}
	rendering, err := render.Render(plan.IstioOperator, nil)
	if err != nil {
		return Installation{}, inDocument(displayed(file), d, err)
	}
	for i, w := range rendering.Warnings {
		rendering.Warnings[i] = warningInDocument(displayed(file), d, w)
	}
	i := Installation{Document: d, Plan: plan, Rendering: rendering}
	i.Notes = installation.VersionNotes(d.Version, i.Images())
	if d.UseLocalImageRegistry {
		i.Notes = append(i.Notes, foreign(i.Images(), o.ImageRegistry)...)
	}
	return i, nil
}

// foreign notes the images that do not come from the registry.
func foreign(images []string, registry string) []string {
	var notes []string
	for _, image := range images {
		if !strings.HasPrefix(image, registry+"/") {
			notes = append(notes, fmt.Sprintf("image %s is not from the local registry %s, because the values or --operator-image say so", image, registry))
		}
	}
	return notes
}

// Argument takes exactly one argument, the document.
func Argument(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 1:
		return nil
	case 0:
		return errors.New("which document? Give its file, or - for standard input")
	default:
		return fmt.Errorf("one document at a time, and not %d: %s", len(args), strings.Join(args, " "))
	}
}

func read(file string, in io.Reader) (document.Document, error) {
	var content []byte
	var err error
	if file == StandardInput {
		content, err = limited(in)
	} else {
		content, err = readFile(file)
	}
	if err != nil {
		return document.Document{}, fmt.Errorf("cannot read the document: %w", err)
	}
	if len(content) > maxBytes {
		return document.Document{}, fmt.Errorf("cannot read the document: %s has more than %d MiB, which no configuration document has", displayed(file), maxBytes>>20)
	}
	d, err := document.Read(displayed(file), content)
	if faults := new(document.Faults); errors.As(err, &faults) {
		return document.Document{}, wrong(displayed(file), append(faults.Faults, located(d, judged(d))...))
	}
	return d, err
}

func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it is only read
	return limited(f)
}

// limited reads to the end, but no more than a byte over the limit: a device or a pipe may have no end.
func limited(in io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(in, maxBytes+1))
}

// displayed returns the name of a file for messages.
func displayed(file string) string {
	if file == StandardInput {
		return "standard input"
	}
	return file
}

// Disabled is what to say where the document has enabled: false. The exit code is 0.
const Disabled = "the document does not enable istio: nothing to do"
