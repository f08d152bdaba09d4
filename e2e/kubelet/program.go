package kubelet

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/meshwarden/meshwarden/e2e/internal/repository"
)

// Program takes the place of the images of a repository.
type Program struct {
	// Path is the program's file.
	Path string
	// Listen names the option that says where the program listens, such as "--health-address", for each port of the container.
	Listen map[int32]string
	// Options returns what else to append to the container's arguments, given the place of the pod; nil means nothing.
	Options func(Place) []string
	// Env is added to the container's environment, as KEY=value.
	Env []string
}

// programFor returns the program of an image. Programs are by the end of the repository's name; a longer one comes first.
func programFor(programs map[string]Program, image string) (Program, bool) {
	names := slices.SortedFunc(maps.Keys(programs), func(a, b string) int { return len(b) - len(a) })
	for _, name := range names {
		if repository.Match(image, name) {
			return programs[name], true
		}
	}
	return Program{}, false
}

// Place is where on this machine a pod is.
type Place struct {
	// Root is the folder that stands for the root of the container's file system. It has the volumes, and the program starts in it.
	Root string
	// Kubeconfig is the file by which the program is the pod's ServiceAccount. KUBECONFIG names it as well, since programs look
	// for what a cluster gives them in a folder that is not below Root. Empty where the pod has no token.
	Kubeconfig string
	// Namespace is the pod's.
	Namespace string
	// mountPaths are where the container has its volumes.
	mountPaths []string
}

// Mounted says whether the container has a volume at the path, and returns where that is.
func (p Place) Mounted(path string) (string, bool) {
	return filepath.Join(p.Root, path), slices.Contains(p.mountPaths, path)
}

// relocated returns the text with a path into a volume replaced by where that is: the text may be a path, or an option with
// one after "=".
func (p Place) relocated(text string) string {
	path := text[strings.Index(text, "=")+1:]
	for _, mountPath := range p.mountPaths {
		if rest, below := strings.CutPrefix(path, mountPath); below && (rest == "" || rest[0] == '/') {
			return strings.TrimSuffix(text, path) + filepath.Join(p.Root, path)
		}
	}
	return text
}
