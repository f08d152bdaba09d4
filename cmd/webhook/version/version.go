// Package version says what this binary was made of. A build by make (so every release and every image) has it stamped by the linker, the same whether
// there is a git repository around or not; for a plain `go build` and `go install`, what the go command recorded stands in.
package version

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// What the linker sets, by -X: see STAMP in the Makefile. seconds is the commit's date in seconds since 1970, as in SOURCE_DATE_EPOCH.
var version, commit, seconds string //nolint:gochecknoglobals // the linker can set nothing else

// Info says what a binary was made of. What is not known is "unknown".
type Info struct {
	// Version is a tag, or what leads from the last one to the commit: v1.2.0, v1.2.0-4-g0123456789ab, with -dirty where files were changed.
	Version string `json:"version"`
	// Commit is the hash of the commit.
	Commit string `json:"commit"`
	// Date is that of the commit, not of the build: in UTC, as in RFC 3339. Two builds of one commit are the same to the byte.
	Date string `json:"date"`
	// GoVersion is the compiler's: go1.26.0.
	GoVersion string `json:"goVersion"`
	// Platform is what it was built for: linux/amd64.
	Platform string `json:"platform"`
}

// Get returns what this binary was made of.
func Get() Info {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = &debug.BuildInfo{}
	}
	return info(stamp{version: version, commit: commit, seconds: seconds}, build)
}

// stamp is what the linker was told.
type stamp struct{ version, commit, seconds string }

// date returns the stamped date, or nothing where none is.
func (s stamp) date() string {
	n, err := strconv.ParseInt(s.seconds, 10, 64)
	if err != nil {
		return ""
	}
	return time.Unix(n, 0).UTC().Format(time.RFC3339)
}

// info prefers the stamp to what the go command recorded.
func info(s stamp, build *debug.BuildInfo) Info {
	recorded := map[string]string{}
	for _, setting := range build.Settings {
		recorded[setting.Key] = setting.Value
	}
	const unknown = "unknown"
	return Info{
		Version:   cmp.Or(s.version, build.Main.Version, unknown),
		Commit:    cmp.Or(s.commit, recorded["vcs.revision"], unknown),
		Date:      cmp.Or(s.date(), recorded["vcs.time"], unknown),
		GoVersion: runtime.Version(),
		Platform:  runtime.GOOS + "/" + runtime.GOARCH,
	}
}

// String returns it as lines for people to read.
func (i Info) String() string {
	var b strings.Builder
	for _, row := range [][2]string{
		{"version", i.Version}, {"commit", i.Commit}, {"date", i.Date}, {"go", i.GoVersion}, {"platform", i.Platform},
	} {
		fmt.Fprintf(&b, "%-9s %s\n", row[0], row[1])
	}
	return b.String()
}
