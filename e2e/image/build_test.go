package image

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/meshwarden/meshwarden/e2e/module"
)

// What the builds are told to be, so that they do not depend on the state of the repository.
const (
	version = "v1.2.3-test"
	commit  = "0123456789abcdef0123456789abcdef01234567"
	seconds = "1767225600"
	date    = "2026-01-01T00:00:00Z"
)

// released is a program, and what its image says of it.
type released struct {
	name, title, description string
	platforms                []string
	// folders are where its source is, modules those that have a go.mod.
	folders, modules []string
	// library is a module that it is made of.
	library string
	// runs are what it is asked once it is built.
	runs []run
}

// run runs a command that is in the image.
type run struct {
	reason string
	args   []string
	stdin  []byte
	code   int
	want   func(stdout string) bool
}

// workshop is where a test builds: the repository, and a store of images that ends with the test.
type workshop struct {
	repository string
	env        []string
}

// newWorkshop fails where buildah is missing: without it nothing shows that the Dockerfile works.
func newWorkshop(t *testing.T, p released) *workshop {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("buildah needs Linux")
	}
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Fatal("images are built with buildah, which is not installed: apt-get install buildah. It needs root or user namespaces")
	}
	e2e, err := module.Dir(t.Context(), module.E2E)
	if err != nil {
		t.Fatal(err)
	}
	watch(t, filepath.Dir(e2e), p)
	store := t.TempDir()
	conf := filepath.Join(store, "storage.conf")
	// vfs and chroot: they work without overlayfs and without a container runtime, inside of containers, too.
	write(t, conf, fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(store, "root"), filepath.Join(store, "run")))
	w := &workshop{
		repository: filepath.Dir(e2e),
		env: append(os.Environ(), "CONTAINERS_STORAGE_CONF="+conf, "BUILDAH_ISOLATION=chroot",
			"VERSION="+version, "COMMIT="+commit, "SOURCE_DATE_EPOCH="+seconds),
	}
	t.Cleanup(func() {
		// Layers have folders that their owner may not write to; buildah knows how to remove them.
		cmd := w.command(context.WithoutCancel(t.Context()), "buildah", "rmi", "--all", "--force")
		if output, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("remove the images: %v\n%s", err, output)
		}
	})
	return w
}

// watch looks at the source of the programs. The go command keeps a test's result for as long as nothing changes that the
// test itself has looked at, and what make and buildah look at does not count.
func watch(t *testing.T, repository string, p released) {
	t.Helper()
	for _, folder := range p.folders {
		err := filepath.WalkDir(filepath.Join(repository, folder), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, module := range p.modules {
		for _, file := range []string{"go.mod", "go.sum"} {
			if _, err := os.Stat(filepath.Join(repository, module, file)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (w *workshop) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = w.repository, w.env
	return cmd
}

// run runs a command in the repository and returns what it printed.
func (w *workshop) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	output, err := w.command(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, output)
	}
	return string(output)
}

// release is `make release` for what images are built from; it returns the folder.
func (w *workshop) release(t *testing.T, p released) string {
	t.Helper()
	dist := filepath.Join(t.TempDir(), "dist")
	w.run(t, "make", "release", "DIST="+dist, "PLATFORMS="+strings.Join(p.platforms, " "), "PROGRAMS="+p.name)
	return dist
}

// image is `make image` for the program's platforms on an empty base, in a folder. The name is always the same, so that it
// replaces what was built before. It returns the image as an OCI layout.
func (w *workshop) image(t *testing.T, p released, folder string, args ...string) layout {
	t.Helper()
	const tag = "test"
	args = append([]string{
		"-C", folder, "image", "PROGRAM=" + p.name, "ENGINE=buildah", "BASE=scratch", "TAG=" + tag, "PLATFORMS=" + strings.Join(p.platforms, " "),
	}, args...)
	w.run(t, "make", args...)
	path := filepath.Join(t.TempDir(), tag)
	push := []string{"manifest", "push", "--all"}
	if len(p.platforms) == 1 {
		push = []string{"push"}
	}
	w.run(t, "buildah", append(push, "meshwarden/"+p.name+":"+tag, "oci:"+path+":"+tag)...)
	return layout(path)
}

// prebuilt is a folder that has what an image of released programs needs: no source and no git repository.
func (w *workshop) prebuilt(t *testing.T, dist string) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"Makefile", "Dockerfile", ".dockerignore"} {
		content, err := os.ReadFile(filepath.Join(w.repository, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, name), string(content))
	}
	if err := os.CopyFS(filepath.Join(folder, "dist"), os.DirFS(dist)); err != nil {
		t.Fatal(err)
	}
	return folder
}

// builder makes an image that stands in for golang's, which cannot be pulled everywhere, and returns the arguments of
// `make image` that use it. It is empty: this machine's own programs, Go and modules are mounted into it.
func (w *workshop) builder(t *testing.T, p released) []string {
	t.Helper()
	// What the build would download is in the cache before it starts.
	for _, module := range p.modules {
		w.run(t, "go", "-C", module, "mod", "download")
	}
	folder := t.TempDir()
	write(t, filepath.Join(folder, "Dockerfile"), "FROM scratch\nENV HOME=/builder PATH=/goroot/bin:/usr/bin:/bin\nWORKDIR /tmp\n")
	w.run(t, "buildah", "build", "--tag", "localhost/builder", folder)

	asked := strings.Fields(w.run(t, "go", "env", "GOROOT", "GOMODCACHE", "GOCACHE"))
	if len(asked) != 3 {
		t.Fatalf("go env GOROOT GOMODCACHE GOCACHE: %q", asked)
	}
	flags := "--pull-never" +
		" --volume " + asked[0] + ":/goroot:ro" +
		" --volume " + asked[1] + ":/builder/go/pkg/mod" +
		" --volume " + asked[2] + ":/builder/.cache/go-build"
	for _, system := range []string{"/usr", "/bin", "/lib", "/lib64"} {
		if _, err := os.Stat(system); err == nil {
			flags += " --volume " + system + ":" + system + ":ro"
		}
	}
	return []string{"BUILDER=localhost/builder", "GOPROXY=off", "IMAGE_FLAGS=" + flags}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
