package installation

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// VersionNotes says what is doubtful about the versions of Istio's images, given what the document has as istio_spec.version ("" for nothing) and the images
// that come of it. The tags of the images are looked at, and not the values, of which many set one: global.tag, pilot.tag, cni.tag, a whole image.
// What is no version of Istio's, such as "latest", is left to whoever chose it, and so are images of other names.
func VersionNotes(version string, images []string) []string {
	names := map[string][]string{} // of images, by their version
	var versions []string
	for _, image := range images {
		name, of := tagged(image)
		if of == "" {
			continue
		}
		if names[of] == nil {
			versions = append(versions, of)
		}
		if !slices.Contains(names[of], name) {
			names[of] = append(names[of], name)
		}
	}
	slices.Sort(versions)
	charts := minor(DefaultTag)
	var notes []string
	for _, v := range versions {
		list := strings.Join(names[v], ", ")
		if version != "" && v != withoutVariant(version) {
			notes = append(notes, fmt.Sprintf("%s: version %s, and not the %s of istio_spec.version, because istio_spec.values say so", list, v, version))
		}
		if m := minor(v); m != "" && m != charts {
			notes = append(notes, fmt.Sprintf("%s: version %s, which Istio does not test with the charts of %s that this installer has; use a version %s.x, or the installer that has the charts of %s",
				list, v, charts, charts, m))
		}
	}
	return notes
}

// tagged returns the name and the version of an image of Istio's own; no version where it is another's image, or has only a digest.
func tagged(image string) (name, version string) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", ""
	}
	name = path.Base(reference.Path(named))
	tag, ok := named.(reference.Tagged)
	if !ok || !slices.Contains([]string{"pilot", "proxyv2", "install-cni", "ztunnel"}, name) {
		return name, ""
	}
	return name, withoutVariant(tag.Tag())
}

// withoutVariant returns a tag without the suffix that Istio's charts add for values.global.variant.
func withoutVariant(tag string) string {
	return strings.TrimSuffix(strings.TrimSuffix(tag, "-distroless"), "-debug")
}

// minor returns such as "1.31" of the tags that Istio gives, 1.31.1, 1.31.0-rc.1 and 1.31-alpha.<commit>, and of such as have a "v" before that or another
// major version. Of names (latest, release-1.30, a commit) nobody knows what is in them.
func minor(tag string) string {
	parts := regexp.MustCompile(`^v?(\d+\.\d+)([.-].*)?$`).FindStringSubmatch(tag)
	if parts == nil {
		return ""
	}
	return parts[1]
}
