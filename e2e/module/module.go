// Package module asks the go command about the Go modules of this build.
package module

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// E2E is the path of the module that this package belongs to.
const E2E = "github.com/meshwarden/meshwarden/e2e"

// Dir returns the folder that holds the source of a module which the e2e module
// requires, or of the e2e module itself. The working directory has to be inside
// the e2e module, as it is in its tests.
func Dir(ctx context.Context, path string) (string, error) {
	return list(ctx, path, "{{.Dir}}")
}

// Version returns the version of a module that the e2e module requires, such as
// v1.37.2. The working directory has to be inside the e2e module.
func Version(ctx context.Context, path string) (string, error) {
	return list(ctx, path, "{{.Version}}")
}

func list(ctx context.Context, path, format string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", format, path)
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("look up module %s (run inside the e2e module): %w: %s",
			path, err, strings.TrimSpace(stderr.String()))
	}
	answer := strings.TrimSpace(string(output))
	if answer == "" {
		return "", fmt.Errorf("look up module %s: not downloaded; run go mod download in e2e", path)
	}
	return answer, nil
}
