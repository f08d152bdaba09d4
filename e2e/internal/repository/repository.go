// Package repository tells images by the end of their repository's name, which is what mirrors of an image have in common.
package repository

import (
	"regexp"
	"strings"
)

// Pattern returns the regular expression of the images whose repository ends in one of the names: "istio/pilot" and "pilot"
// stand for registry.example.com/istio/pilot:1.0. It matches nothing where there are no names.
func Pattern(names []string) string {
	var quoted []string
	for _, name := range names {
		quoted = append(quoted, regexp.QuoteMeta(name))
	}
	if len(quoted) == 0 {
		return "^$"
	}
	return "(^|/)(" + strings.Join(quoted, "|") + ")([:@][^/]*)?$"
}

// Match says whether the repository of the image ends in the name.
func Match(image, name string) bool {
	return regexp.MustCompile(Pattern([]string{name})).MatchString(image)
}
