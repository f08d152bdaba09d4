package image

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout is the folder of an OCI image layout that holds one image for several platforms.
type layout string

func (l layout) blob(d digest.Digest) string {
	return filepath.Join(string(l), imagespec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// manifests returns the digest of the image's manifest for each platform, such as linux/arm64.
func (l layout) manifests(t *testing.T) map[string]digest.Digest {
	t.Helper()
	outer := decode[imagespec.Index](t, filepath.Join(string(l), imagespec.ImageIndexFile))
	if len(outer.Manifests) != 1 {
		t.Fatalf("the layout has %d images, want 1", len(outer.Manifests))
	}
	found := map[string]digest.Digest{}
	if only := outer.Manifests[0]; only.MediaType == imagespec.MediaTypeImageManifest {
		config := l.config(t, only.Digest)
		return map[string]digest.Digest{config.OS + "/" + config.Architecture: only.Digest}
	}
	for _, m := range decode[imagespec.Index](t, l.blob(outer.Manifests[0].Digest)).Manifests {
		platform := m.Platform.OS + "/" + m.Platform.Architecture
		if _, twice := found[platform]; twice {
			t.Errorf("the image has %s twice", platform)
		}
		found[platform] = m.Digest
	}
	return found
}

// config returns how the image of a manifest is run.
func (l layout) config(t *testing.T, manifest digest.Digest) imagespec.Image {
	t.Helper()
	return decode[imagespec.Image](t, l.blob(decode[imagespec.Manifest](t, l.blob(manifest)).Config.Digest))
}

// unpack writes the files of the image's layers below a folder, which a container would have as its root, and returns
// their headers by name.
func (l layout) unpack(t *testing.T, manifest digest.Digest, root string) map[string]*tar.Header {
	t.Helper()
	headers := map[string]*tar.Header{}
	for _, layer := range decode[imagespec.Manifest](t, l.blob(manifest)).Layers {
		file, err := os.Open(l.blob(layer.Digest))
		if err != nil {
			t.Fatal(err)
		}
		unzipped, err := gzip.NewReader(file)
		if err != nil {
			t.Fatalf("layer %s (%s): %v", layer.Digest, layer.MediaType, err)
		}
		for archive := tar.NewReader(unzipped); ; {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			headers[header.Name] = header
			unpackFile(t, archive, header, root)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return headers
}

func unpackFile(t *testing.T, from io.Reader, header *tar.Header, root string) {
	t.Helper()
	if header.Typeflag != tar.TypeReg {
		t.Fatalf("the image has %s of type %q; only files are expected", header.Name, header.Typeflag)
	}
	file, err := os.OpenFile(filepath.Join(root, header.Name), os.O_CREATE|os.O_WRONLY, header.FileInfo().Mode())
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(file, from)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

func decode[T any](t *testing.T, path string) T {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var value T
	if err := json.Unmarshal(content, &value); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return value
}
