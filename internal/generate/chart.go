package main

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	manifestsFolder = "manifests"
	templatesFolder = "charts/meshwarden/templates"
	// dashboard is no manifest but goes into one, in kustomize and in the chart alike.
	dashboard = "manifests/monitoring/dashboard.json"
)

// chartSource is a kustomization whose files become templates of the Helm chart.
type chartSource struct {
	folder string
	// prefix is put before the names of the templates.
	prefix string
	// when is the condition, in Helm's language, on which the objects are installed; empty means always.
	when string
}

// chartSources are the kustomizations that the chart is made of. What they patch is in chartChanges.
func chartSources() []chartSource {
	return []chartSource{
		{folder: "manifests/base"},
		{folder: "certs", prefix: "cert-manager-", when: `eq .Values.certificate.mode "cert-manager"`},
		{folder: "manifests/overlays/self-managed", prefix: "self-managed-", when: `eq .Values.certificate.mode "self-managed"`},
		{folder: "manifests/components/istio-revisions", prefix: "istio-revisions-", when: ".Values.istio.revisions"},
		{folder: "manifests/components/read-secrets", prefix: "read-secrets-", when: ".Values.readSecrets"},
		{folder: "manifests/components/static-checks", prefix: "static-checks-", when: ".Values.staticChecks.enabled"},
		{folder: "manifests/components/static-checks/wildcards", prefix: "static-checks-wildcards-", when: ".Values.staticChecks.forbidWildcards"},
		{folder: "manifests/monitoring", prefix: "monitoring-"},
	}
}

// notInChart are the folders of kustomizations that the chart leaves out.
func notInChart() []string {
	return []string{
		"manifests/overlays/cert-manager", // the base, certs and patches, nothing else
		"manifests/components/client-ca",  // patches, nothing else
		"manifests/bootstrap",             // installs Istio, once
		"manifests/monitoring/operator",   // of what the bootstrap installs
		"manifests/platform",              // puts the bootstrap beside an overlay
	}
}

// chartFiles returns the chart's templates. A template is the text of its manifest, comments included, with replacements:
// so a reader of the chart sees the manifests again, and what the two share stands in one place.
//
// Of manifests that are generated themselves, it takes what is generated now in place of what root has.
func chartFiles(root fs.FS, generated []file) ([]file, error) {
	if err := coversManifests(root); err != nil {
		return nil, err
	}
	content, err := fs.ReadFile(root, dashboard)
	if err != nil {
		return nil, err
	}
	files := []file{{"charts/meshwarden/files/dashboard.json", content}}
	changes := chartChanges()
	for _, s := range chartSources() {
		names, err := kustomizationFiles(root, s.folder)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			source := path.Join(s.folder, name)
			manifest, err := current(root, generated, source)
			if err != nil {
				return nil, err
			}
			c := changes[source]
			delete(changes, source)
			if c.when == "" {
				c.when = s.when
			}
			if source == "manifests/base/namespace.yaml" {
				// Helm keeps the release in the namespace, so that it has to be there before the chart is.
				continue
			}
			template, err := chartTemplate(source, string(manifest), c)
			if err != nil {
				return nil, err
			}
			files = append(files, file{path.Join(templatesFolder, s.prefix+name), template})
		}
	}
	for source := range changes {
		return nil, fmt.Errorf("the chart: chartChanges names %s, which no kustomization of the chart has", source)
	}
	return files, nil
}

func current(root fs.FS, generated []file, name string) ([]byte, error) {
	for _, f := range generated {
		if f.path == name {
			return f.content, nil
		}
	}
	return fs.ReadFile(root, name)
}

// coversManifests fails on a kustomization that the chart neither has nor leaves out on purpose.
func coversManifests(root fs.FS) error {
	known := notInChart()
	for _, s := range chartSources() {
		known = append(known, s.folder)
	}
	return fs.WalkDir(root, manifestsFolder, func(name string, _ fs.DirEntry, err error) error {
		if err == nil && path.Base(name) == "kustomization.yaml" && !slices.Contains(known, path.Dir(name)) {
			return fmt.Errorf("the chart does not know %s: add it to chartSources, or to notInChart with the reason", name)
		}
		return err
	})
}

// kustomizationFiles returns the manifests of a kustomization, without those of others that it builds on.
func kustomizationFiles(root fs.FS, folder string) ([]string, error) {
	name := path.Join(folder, "kustomization.yaml")
	content, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	var kustomization struct{ Resources []string }
	if err := yaml.Unmarshal(content, &kustomization); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return slices.DeleteFunc(kustomization.Resources, func(r string) bool { return path.Ext(r) != ".yaml" }), nil
}

// change is what makes a template of a manifest.
type change struct {
	// when is the condition of the file's objects, in place of that of its kustomization.
	when  string
	edits []edit
}

// edit is a replacement in the text of a manifest.
type edit struct {
	old, new string
	// times is how often the old text is there; 0 means once.
	times int
}

// Replacements that hold for every manifest.
var (
	ownNamespace = regexp.MustCompile(`(?m)^( *(?:- )?)namespace: meshwarden$`)
	kind         = regexp.MustCompile(`(?m)^kind: `)
	// metadata ends with the labels that the chart writes itself.
	metadata   = regexp.MustCompile(`(?m)^(metadata:\n  name: .+\n(?:  namespace: .+\n)?)(?:  labels:\n(?:    app\.kubernetes\.io/(?:name|part-of): .+\n)*)?`)
	expression = regexp.MustCompile(`{{[^}]*}}`)
)

// chartTemplate returns the template that is made of the manifest at the path source.
func chartTemplate(source, manifest string, c change) ([]byte, error) {
	manifest = strings.TrimPrefix(manifest, generatedHeader)
	// Prometheus' templates are written as Helm's are.
	manifest = expression.ReplaceAllString(manifest, "{{`$0`}}")
	for _, e := range c.edits {
		if count := strings.Count(manifest, e.old); count != max(1, e.times) {
			return nil, fmt.Errorf("the chart: %s has %d times, not %d times, the text that an edit replaces:\n%s", source, count, max(1, e.times), e.old)
		}
		manifest = strings.ReplaceAll(manifest, e.old, e.new)
	}
	manifest = ownNamespace.ReplaceAllString(manifest, "${1}namespace: {{ .Release.Namespace }}")
	if documents, labelled := len(kind.FindAllString(manifest, -1)), len(metadata.FindAllString(manifest, -1)); labelled != documents {
		return nil, fmt.Errorf("the chart: %s has %d objects, but the metadata of %d begins with name, namespace and labels", source, documents, labelled)
	}
	manifest = metadata.ReplaceAllString(manifest, "${1}  labels:\n    {{- include \"meshwarden.labels\" . | nindent 4 }}\n")
	if c.when != "" {
		manifest = fmt.Sprintf("{{- if %s }}\n%s{{- end }}\n", c.when, manifest)
	}
	return fmt.Appendf(nil, "# Code generated by internal/generate from %s; DO NOT EDIT.\n%s", source, manifest), nil
}
