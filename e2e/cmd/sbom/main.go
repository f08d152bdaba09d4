// Command sbom writes, beside each Go program that it is given, PROGRAM.cdx.json: the modules that the program was linked from, as a CycloneDX bill of
// materials. It reads them from the program itself, so the list is of what is in there and not of what go.mod allows. The same program has the same list,
// to the byte.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

func main() {
	version := flag.String("version", "", "the version of this repository that the programs were built from")
	seconds := flag.Int64("seconds", 0, "the date of that version, in seconds since 1970")
	flag.Parse()
	if err := run(*version, time.Unix(*seconds, 0), flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(version string, date time.Time, paths []string) error {
	if version == "" || len(paths) == 0 {
		return errors.New("give -version and the programs to list")
	}
	for _, path := range paths {
		if err := write(version, date, path); err != nil {
			return err
		}
	}
	return nil
}

func write(version string, date time.Time, path string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read what %s was linked from: %w", path, err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the program: %w", err)
	}
	file, err := os.Create(path + ".cdx.json")
	if err != nil {
		return fmt.Errorf("write the bill of materials: %w", err)
	}
	encoder := cyclonedx.NewBOMEncoder(file, cyclonedx.BOMFileFormatJSON).SetPretty(true)
	err = encoder.EncodeVersion(bill(program{info: info, digest: sha256.Sum256(content), version: version, date: date}), specification)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write the bill of materials %s: %w", file.Name(), err)
	}
	return nil
}
