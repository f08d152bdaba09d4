package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

// specification is the version of CycloneDX that scanners commonly read.
const specification = cyclonedx.SpecVersion1_6

// program is a Go program and what it cannot tell of itself.
type program struct {
	info    *buildinfo.BuildInfo
	digest  [sha256.Size]byte
	version string
	date    time.Time
}

// bill returns what the program is made of: the standard library, then the modules in the order of their paths, as the linker recorded them.
func bill(p program) *cyclonedx.BOM {
	name := path.Base(p.info.Path)
	own := p.info.Main.Path
	compiler, _, _ := strings.Cut(p.info.GoVersion, " ") // experiments may follow
	components := []cyclonedx.Component{library("stdlib", strings.TrimPrefix(compiler, "go"))}
	for _, m := range p.info.Deps {
		components = append(components, dependency(m, p.version))
	}
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceOID, p.digest[:]).URN()
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: p.date.UTC().Format(time.RFC3339),
		Component: &cyclonedx.Component{
			BOMRef: name, Type: cyclonedx.ComponentTypeApplication, Name: name, Version: p.version,
			PackageURL: packageURL(own, p.version) + "#" + strings.TrimPrefix(p.info.Path, own+"/"),
			Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(p.digest[:])}},
			Licenses:   &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}},
		},
	}
	bom.Components = &components
	return bom
}

// dependency is the module that was linked: its replacement, where there is one. A replacement by a folder is this repository's own code.
func dependency(m *debug.Module, own string) cyclonedx.Component {
	switch {
	case m.Replace == nil:
		return library(m.Path, m.Version)
	case m.Replace.Version == "":
		return library(m.Path, own)
	default:
		return library(m.Replace.Path, m.Replace.Version)
	}
}

func library(name, version string) cyclonedx.Component {
	purl := packageURL(name, version)
	return cyclonedx.Component{BOMRef: purl, Type: cyclonedx.ComponentTypeLibrary, Name: name, Version: version, PackageURL: purl}
}

// packageURL names a module the way vulnerability scanners look it up; the rules for type "golang" have it in lower case
// (https://github.com/package-url/purl-spec).
func packageURL(module, version string) string {
	return "pkg:golang/" + strings.ToLower(module) + "@" + url.QueryEscape(version)
}
