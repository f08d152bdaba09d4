// Package documentflags has what the commands have in common that take the platform's configuration document: the argument that names it, the options
// beside it, and what comes of both.
package documentflags

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/meshwarden/meshwarden/cmd/webhook/version"
	"github.com/meshwarden/meshwarden/installer/pkg/document"
	"github.com/meshwarden/meshwarden/installer/pkg/installation"
	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

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
}

// Load reads the document from a file or, for "-", from in. The error names everything that is wrong with the document, or what Istio refuses in it.
func (o *Options) Load(file string, in io.Reader) (Installation, error) {
	d, err := read(file, in)
	if err != nil || !d.Enabled {
		return Installation{Document: d}, err
	}
	plan, err := installation.New(d, installation.Options{
		ImageRegistry: o.ImageRegistry, OperatorImage: o.OperatorImage, Version: version.Get().Version,
	})
	if err != nil {
		return Installation{}, err
	}
	rendering, err := render.Render(plan.IstioOperator, nil)
	if invalid := new(render.InvalidError); errors.As(err, &invalid) {
		return Installation{}, fmt.Errorf("%s: Istio refuses what the document makes of istio_spec: %w", displayed(file), invalid)
	}
	if err != nil {
		return Installation{}, err
	}
	return Installation{Document: d, Plan: plan, Rendering: rendering}, nil
}

func read(file string, in io.Reader) (document.Document, error) {
	var content []byte
	var err error
	if file == StandardInput {
		content, err = io.ReadAll(in)
	} else {
		content, err = os.ReadFile(file)
	}
	if err != nil {
		return document.Document{}, fmt.Errorf("cannot read the document: %w", err)
	}
	d, err := document.Read(displayed(file), content)
	if faults := new(document.Faults); errors.As(err, &faults) {
		return document.Document{}, fmt.Errorf("nothing was done, as this is wrong with the document:\n%w", faults) // each begins a line with its file and line
	}
	return d, err
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
