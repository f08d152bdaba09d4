// Package image tests what is released: it has make build the programs and the images, reads them, and runs what is in them.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestRelease builds programs and images in all ways there are: from the repository, and from released programs in a
// folder without source and git. All make the same bytes.
func TestRelease(t *testing.T) {
	here := runtime.GOOS + "/" + runtime.GOARCH
	for _, p := range []released{
		{
			name: "webhook", title: "Meshwarden", description: "Admission webhook and controller that keeps the routing of an Istio mesh honest",
			platforms: []string{"linux/amd64", "linux/arm64"}, folders: []string{"cmd", "pkg"}, modules: []string{"."}, library: "k8s.io/client-go",
			runs: []run{
				saysVersion(t),
				{"it lets a good file pass", []string{"check", "-"}, fixture(t, "pass_any_host.yaml"), 0, func(s string) bool { return strings.Contains(s, "0 deny") }},
				{"it finds what is wrong", []string{"check", "-"}, fixture(t, "fail_host.yaml"), 1, func(s string) bool { return strings.Contains(s, "MW102") }},
			},
		},
		{
			// For another platform, all of Istio and Helm would be compiled once more; the Makefile and the Dockerfile know of no
			// difference between programs there. The workflow platforms builds them all once a week.
			name: "installer", title: "Meshwarden installer", description: "Installs the Istio operator and, through it, Istio's control plane",
			platforms: []string{here}, folders: []string{"installer", "cmd", "pkg"}, modules: []string{".", "installer"}, library: "istio.io/istio",
			runs: []run{
				saysVersion(t),
				{"it has Istio's charts within itself", []string{"images", "-"}, document(t), 0, func(s string) bool { return strings.Contains(s, "/proxyv2:") }},
			},
		},
	} {
		t.Run(p.name, func(t *testing.T) { testRelease(t, p) })
	}
}

func testRelease(t *testing.T, p released) {
	w := newWorkshop(t, p)
	dist := w.release(t, p)
	t.Run("Files", func(t *testing.T) { checkFiles(t, dist, p) })

	compiled := w.image(t, p, w.repository, w.builder(t, p)...)
	prebuilt := w.image(t, p, w.prebuilt(t, dist), "BINARIES=prebuilt")
	manifests := compiled.manifests(t)
	if diff := cmp.Diff(p.platforms, slices.Sorted(maps.Keys(manifests))); diff != "" {
		t.Fatalf("platforms (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(manifests, prebuilt.manifests(t)); diff != "" {
		t.Errorf("the image compiled by its Dockerfile and the one of released programs differ (-compiled +prebuilt):\n%s", diff)
	}
	for platform, manifest := range manifests {
		t.Run(platform, func(t *testing.T) {
			config := compiled.config(t, manifest)
			checkConfig(t, config, p, platform)
			root := t.TempDir()
			checkContent(t, compiled.unpack(t, manifest, root), p, config)
			checkProgram(t, filepath.Join(root, p.name), platform)
			if platform == runtime.GOOS+"/"+runtime.GOARCH {
				runProgram(t, root, config, p.runs)
			}
		})
	}
}

// checkFiles: each program has its bill of materials, and each file its checksum.
func checkFiles(t *testing.T, dist string, p released) {
	sums, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, platform := range p.platforms {
		for _, suffix := range []string{"", ".cdx.json"} {
			name := p.name + "-" + strings.ReplaceAll(platform, "/", "-") + suffix
			content, err := os.ReadFile(filepath.Join(dist, name))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&want, "%x  %s\n", sha256.Sum256(content), name)
			if suffix != "" && (!bytes.Contains(content, []byte("pkg:golang/"+p.library+"@v")) || !bytes.Contains(content, []byte(version))) {
				t.Errorf("%s does not list %s or the version:\n%s", name, p.library, content)
			}
		}
	}
	if diff := cmp.Diff(want.String(), string(sums)); diff != "" {
		t.Errorf("SHA256SUMS (-want +got):\n%s", diff)
	}
}

func checkConfig(t *testing.T, got imagespec.Image, p released, platform string) {
	created, err := time.Parse(time.RFC3339, date)
	if err != nil {
		t.Fatal(err)
	}
	if got.Created == nil || !got.Created.Equal(created) {
		t.Errorf("created: %v, want the commit's date %s", got.Created, date)
	}
	if is := got.OS + "/" + got.Architecture; is != platform {
		t.Errorf("platform: %s, want %s", is, platform)
	}
	want := imagespec.ImageConfig{
		User: "65532:65532", Entrypoint: []string{"/" + p.name}, // arguments come from the Deployment
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, // buildah's; none of the builder's
		Labels: map[string]string{
			"org.opencontainers.image.title":       p.title,
			"org.opencontainers.image.description": p.description,
			"org.opencontainers.image.source":      "https://github.com/meshwarden/meshwarden",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     version,
			"org.opencontainers.image.revision":    commit,
		},
	}
	if diff := cmp.Diff(want, got.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

// checkContent: the program is all there is, and nobody but root could change it.
func checkContent(t *testing.T, headers map[string]*tar.Header, p released, config imagespec.Image) {
	if names := slices.Collect(maps.Keys(headers)); !slices.Equal(names, []string{p.name}) {
		t.Fatalf("files of the image: %v, want the program alone", names)
	}
	h := headers[p.name]
	if h.Uid != 0 || h.Gid != 0 || h.FileInfo().Mode() != 0o755 || !h.ModTime.Equal(*config.Created) {
		t.Errorf("the program: owner %d:%d, mode %v, of %s; want root's, 755, of %s", h.Uid, h.Gid, h.FileInfo().Mode(), h.ModTime, config.Created)
	}
}

// checkProgram: it is for that platform and needs no library of the base.
func checkProgram(t *testing.T, path, platform string) {
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	machine := map[string]elf.Machine{"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64}[platform]
	if file.Machine != machine {
		t.Errorf("machine: %s, want %s", file.Machine, machine)
	}
	if slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Error("the program is linked dynamically; the base has no libraries")
	}
}

// runProgram runs the program the way a container does, as far as root can: with the image's files as all there are, as the
// image's user, with the image's environment. Whoever is not root runs the unpacked file.
func runProgram(t *testing.T, root string, config imagespec.Image, runs []run) {
	// Bases that are not empty have it, and the operator's pod has a volume there.
	if err := os.Mkdir(filepath.Join(root, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, tc := range runs {
		t.Run(tc.reason, func(t *testing.T) {
			program := filepath.Join(root, config.Config.Entrypoint[0])
			var contained *syscall.SysProcAttr
			if os.Geteuid() == 0 {
				program = config.Config.Entrypoint[0]
				contained = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
			}
			cmd := exec.CommandContext(t.Context(), program, tc.args...)
			cmd.Dir, cmd.Env, cmd.SysProcAttr, cmd.Stdin = "/", config.Config.Env, contained, bytes.NewReader(tc.stdin)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			if cmd.ProcessState == nil {
				t.Fatalf("did not start: %v", err)
			}
			if code := cmd.ProcessState.ExitCode(); code != tc.code || !tc.want(stdout.String()) {
				t.Errorf("%s: exit status %d, want %d\n%s%s", strings.Join(tc.args, " "), code, tc.code, stdout.String(), stderr.String())
			}
		})
	}
}

// saysVersion: the program knows what it was built from.
func saysVersion(t *testing.T) run {
	t.Helper()
	stamped, err := json.MarshalIndent(map[string]string{
		"version": version, "commit": commit, "date": date, "goVersion": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return run{"it says what it was built from", []string{"version", "--output", "json"}, nil, 0, func(s string) bool { return sameJSON(s, string(stamped)) }}
}

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	return file(t, "testdata", "rules", "MW102", name)
}

// document is the one of the bootstrap Job.
func document(t *testing.T) []byte {
	t.Helper()
	return file(t, "manifests", "bootstrap", "document.yaml")
}

func file(t *testing.T, parts ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func sameJSON(a, b string) bool {
	var values [2]any
	for i, text := range []string{a, b} {
		if json.Unmarshal([]byte(text), &values[i]) != nil {
			return false
		}
	}
	return cmp.Equal(values[0], values[1])
}
