package conformance_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/e2e/module"
	"github.com/meshwarden/meshwarden/pkg/check"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// sampleGateways are the gateways that Istio's samples are made for, as far as verdicts depend on them: the ingress gateway
// of the demo profile, and the east-west gateway that the multicluster samples install.
const sampleGateways = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  template:
    metadata:
      labels: {app: istio-ingressgateway, istio: ingressgateway}
    spec:
      containers:
      - {name: istio-proxy, args: [proxy, router]}
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {app: istio-ingressgateway, istio: ingressgateway}
  ports:
  - {port: 15021, targetPort: 15021}
  - {port: 80, targetPort: 8080}
  - {port: 443, targetPort: 8443}
  - {port: 31400, targetPort: 31400}
  - {port: 15443, targetPort: 15443}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-eastwestgateway, namespace: istio-system}
spec:
  template:
    metadata:
      labels: {app: istio-eastwestgateway, istio: eastwestgateway}
    spec:
      containers:
      - {name: istio-proxy, args: [proxy, router]}
---
apiVersion: v1
kind: Service
metadata: {name: istio-eastwestgateway, namespace: istio-system}
spec:
  selector: {app: istio-eastwestgateway, istio: eastwestgateway}
  ports:
  - {port: 15021, targetPort: 15021}
  - {port: 15443, targetPort: 15443}
  - {port: 15012, targetPort: 15012}
  - {port: 15017, targetPort: 15017}
`

// routingObjects finds the objects that are judged.
var routingObjects = regexp.MustCompile(`(?m)^apiVersion: networking\.istio\.io/\S+\s+kind: (Gateway|VirtualService)\b`)

// TestSamples judges Istio's own samples as its documentation has them applied. They work, so nothing may be found; what is
// found all the same is in the table, with the reason why it is right.
func TestSamples(t *testing.T) {
	istio, err := module.Dir(t.Context(), "istio.io/istio")
	if err != nil {
		t.Fatal(err)
	}
	samples := filepath.Join(istio, "samples")
	tests := []struct {
		reason string
		// paths are applied together. One that ends in * is applied once for each file that it stands for.
		paths []string
		// without says that Istio's gateways are not in the input.
		without bool
		// want are the findings, and why they are right.
		want []string
		why  string
	}{
		{reason: "the routes of Bookinfo, each with the application and its gateway", paths: []string{
			"bookinfo/platform/kube/bookinfo.yaml", "bookinfo/networking/bookinfo-gateway.yaml", "bookinfo/networking/*",
		}},
		{reason: "the same, as far as the files alone tell", without: true, paths: []string{
			"bookinfo/platform/kube/bookinfo.yaml", "bookinfo/networking/bookinfo-gateway.yaml", "bookinfo/networking/*",
		}},
		{reason: "hello world", paths: []string{"helloworld/helloworld.yaml", "helloworld/helloworld-gateway.yaml"}},
		{reason: "httpbin", paths: []string{"httpbin/httpbin.yaml", "httpbin/httpbin-gateway.yaml"}},
		{reason: "TCP traffic", paths: []string{"tcp-echo/tcp-echo-services.yaml", "tcp-echo/tcp-echo-all-v1.yaml"}},
		{reason: "TCP traffic shifted", paths: []string{"tcp-echo/tcp-echo-services.yaml", "tcp-echo/tcp-echo-20-v2.yaml"}, want: []string{
			"tcp-echo/tcp-echo-20-v2.yaml:23 MW101",
		}, why: "the file replaces the VirtualService of tcp-echo-all-v1.yaml and leaves its Gateway to that one"},
		{reason: "websockets", paths: []string{"websockets/app.yaml", "websockets/route.yaml"}},
		{reason: "istiod behind a gateway that terminates TLS", paths: []string{"multicluster/expose-istiod-https.yaml"}},
		{reason: "istiod behind a gateway that passes TLS through", paths: []string{"multicluster/expose-istiod.yaml"}},
		{reason: "services of another network", paths: []string{"multicluster/expose-services.yaml"}},
	}
	seen := map[string]bool{}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			for _, paths := range expand(t, samples, tc.paths) {
				stdin := sampleGateways
				if tc.without {
					stdin = ""
				}
				for _, p := range paths {
					seen[p] = true
				}
				if diff := cmp.Diff(tc.want, placesIn(t, samples, paths, stdin)); diff != "" {
					t.Errorf("%s: findings (-want +got):\n%s", strings.Join(paths, ", "), diff)
				}
			}
		})
	}
	for _, file := range routingFiles(t, samples) {
		if rel, _ := filepath.Rel(samples, file); !seen[file] {
			t.Errorf("samples/%s has routes, and no row of the table applies it", rel)
		}
	}
}

// expand returns the paths below the folder, once for each file that a * stands for.
func expand(t *testing.T, folder string, paths []string) [][]string {
	t.Helper()
	last := filepath.Join(folder, paths[len(paths)-1])
	var fixed []string
	for _, p := range paths[:len(paths)-1] {
		fixed = append(fixed, filepath.Join(folder, p))
	}
	matches, err := filepath.Glob(last)
	if err != nil || len(matches) == 0 {
		t.Fatalf("no file %s: %v", last, err)
	}
	var sets [][]string
	for _, m := range matches {
		sets = append(sets, append(fixed[:len(fixed):len(fixed)], m))
	}
	return sets
}

// judgeFiles checks the files and what stands in for the rest of the cluster.
func judgeFiles(t *testing.T, paths []string, stdin string) *check.Report {
	t.Helper()
	if stdin != "" {
		paths = append([]string{check.Stdin}, paths...)
	}
	r, err := check.Run(check.Options{Rules: policy.Rules(), Namespace: "default", IstioNamespace: "istio-system"}, paths, strings.NewReader(stdin))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		t.Errorf("problem: %s", p)
	}
	return r
}

// placesIn lists the findings as "file:line rule".
func placesIn(t *testing.T, folder string, paths []string, stdin string) []string {
	t.Helper()
	var places []string
	for _, f := range judgeFiles(t, paths, stdin).Findings {
		file, _ := filepath.Rel(folder, f.File)
		places = append(places, file+":"+strconv.Itoa(f.Line)+" "+f.Rule)
	}
	return places
}

// routingFiles returns the YAML files below the folder that hold Gateways or VirtualServices of Istio.
func routingFiles(t *testing.T, folder string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		if routingObjects.Match(text) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
