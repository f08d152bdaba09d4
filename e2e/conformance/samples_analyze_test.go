package conformance_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"istio.io/istio/pkg/config/analysis"
	"istio.io/istio/pkg/config/analysis/analyzers"
	"istio.io/istio/pkg/config/analysis/diag"
	"istio.io/istio/pkg/config/analysis/local"

	"github.com/meshwarden/meshwarden/e2e/module"
)

var differencesFile = flag.String("conformance.differences", "", "write the table of differences from istioctl analyze to this file")

// assumedGateway is the ingress gateway that `istioctl analyze` assumes where it is given files: what its
// AddDefaultResources adds to the input.
const assumedGateway = `
apiVersion: v1
kind: Pod
metadata: {name: istio-ingressgateway-dummypod, namespace: istio-system, labels: {istio: ingressgateway}}
spec:
  containers:
  - {name: istio-proxy, args: [proxy, router]}
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  ports:
  - {port: 80}
  - {port: 443}
  - {port: 31400}
  - {port: 15443}
`

// topic is what a finding or a message of the analyzers is about, as far as both tools know it.
type topic string

// The topics that are compared.
const (
	gatewayTopic  topic = "gateway"  // a gateway that a VirtualService names
	hostTopic     topic = "host"     // a host that a gateway serves
	conflictTopic topic = "conflict" // two Gateways on one workload
	workloadTopic topic = "workload" // what a selector selects
	portTopic     topic = "port"     // what a Service exposes
)

// compared says which rules and which messages speak of the same.
func compared() (ours map[string]topic, theirs map[string]map[string]topic) {
	ours = map[string]topic{
		"MW101": gatewayTopic, "MW102": hostTopic, "MW103": hostTopic, "MW104": hostTopic, "MW105": hostTopic, "MW114": hostTopic,
		"MW201": conflictTopic, "MW202": conflictTopic, "MW203": conflictTopic, "MW205": workloadTopic, "MW206": portTopic,
	}
	theirs = map[string]map[string]topic{
		"virtualservice.GatewayAnalyzer":     {"IST0101": gatewayTopic, internalGateway: gatewayTopic, "IST0132": hostTopic},
		"gateway.ConflictingGatewayAnalyzer": {"IST0145": conflictTopic, "IST0101": workloadTopic},
		"gateway.IngressGatewayPortAnalyzer": {"IST0162": portTopic, "IST0101": workloadTopic},
	}
	return ours, theirs
}

// internalGateway is the code that a VirtualService names a Gateway of istiod's own making. It speaks of the gateway, but does
// not say that there is none.
const internalGateway = "IST0165"

// elsewhere says of the other analyzers of Gateways and VirtualServices why they are not compared.
func elsewhere() map[string]string {
	return map[string]string{
		"gateway.CertificateAnalyzer":                        "IST0138: one certificate on several Gateways is a matter of what browsers do with HTTP/2 connections, and no rule of Meshwarden",
		"gateway.SecretAnalyzer":                             "IST0101 and IST0161: credentials are MW209, which does not exist yet",
		"schema.ValidationAnalyzer":                          "IST0106 and IST0130 to IST0134: Istio's own admission webhook says the same",
		"virtualservice.ConflictingMeshGatewayHostsAnalyzer": "IST0109: several VirtualServices for one host are MW108, which does not exist yet",
		"virtualservice.DestinationHostAnalyzer":             "IST0101, IST0112 and IST0140: destinations are MW110, which does not exist yet",
		"virtualservice.DestinationRuleAnalyzer":             "IST0101: subsets are MW110, which does not exist yet",
		"virtualservice.JWTClaimRouteAnalyzer":               "IST0149: whether requests are authenticated is not routing, and no rule of Meshwarden",
	}
}

// difference is one kind of disagreement in one file.
type difference struct {
	file string
	// objects are those that it is about, separated by spaces.
	objects string
	topic   topic
	// analyze and meshwarden are what each tool says of the topic: codes or rules, separated by spaces.
	analyze, meshwarden string
	why                 string
}

// TestAnalyze judges the test data of Istio's own analyzers, and compares with what the analyzers say of it. Where the two
// differ is in the table, with the reason.
func TestAnalyze(t *testing.T) {
	istio, err := module.Dir(t.Context(), "istio.io/istio")
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(istio, "pkg", "config", "analysis", "analyzers", "testdata")
	want := map[string]string{}
	for _, d := range differences() {
		for object := range strings.FieldsSeq(d.objects) {
			want[key(d.file, object, d.topic)] = d.analyze + " | " + d.meshwarden
		}
	}
	got, same := map[string]string{}, 0
	for _, path := range routingFiles(t, folder) {
		file := filepath.Base(path)
		theirs, ours := analyzed(t, path), judged(t, path)
		either := maps.Clone(theirs)
		maps.Copy(either, ours)
		for about := range either {
			codes, rules := distinct(theirs[about]), distinct(ours[about])
			if codes != "" && rules != "" && codes != internalGateway {
				same++
				continue
			}
			got[key(file, about.object, about.topic)] = codes + " | " + rules
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differences between the two (-explained +found):\n%s", diff)
	}
	t.Logf("the two say the same of %d objects and topics, and differ on %d", same, len(got))
	if *differencesFile != "" {
		if err := os.WriteFile(*differencesFile, []byte(table(same)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEveryAnalyzerIsAccountedFor: an analyzer that Istio adds has to be compared, or said to be no topic.
func TestEveryAnalyzerIsAccountedFor(t *testing.T) {
	_, theirs := compared()
	for _, a := range analyzers.All() {
		name := a.Metadata().Name
		if !strings.HasPrefix(name, "virtualservice.") && !strings.HasPrefix(name, "gateway.") {
			continue
		}
		if theirs[name] == nil && elsewhere()[name] == "" {
			t.Errorf("%s is neither compared nor explained", name)
		}
	}
}

// subject is an object of a file and a topic.
type subject struct {
	object string
	topic  topic
}

func distinct(list []string) string {
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(list))), " ")
}

func key(file, object string, about topic) string {
	return file + " " + object + " " + string(about)
}

// judged returns the rules that find something in the file, by what they are about.
func judged(t *testing.T, path string) map[subject][]string {
	t.Helper()
	topics, _ := compared()
	found := map[subject][]string{}
	for _, f := range judgeFiles(t, []string{path}, assumedGateway).Findings {
		if about, ok := topics[f.Rule]; ok {
			s := subject{f.Object.Key.String(), about}
			found[s] = append(found[s], f.Rule)
		}
	}
	return found
}

// analyzed returns the codes of what Istio's analyzers say of the file, by what they are about.
func analyzed(t *testing.T, path string) map[subject][]string {
	t.Helper()
	_, topics := compared()
	found := map[subject][]string{}
	for _, a := range analyzers.All() {
		codes := topics[a.Metadata().Name]
		if codes == nil {
			continue
		}
		for _, m := range analyze(t, path, a) {
			about, ok := codes[m.Type.Code()]
			if !ok {
				t.Errorf("%s: %s says %s, of which nobody said what it is about", path, a.Metadata().Name, m.Type.Code())
				continue
			}
			_, name, _ := strings.Cut(m.Resource.Origin.FriendlyName(), " ")
			if !strings.Contains(name, "/") {
				name = "default/" + name
			}
			s := subject{name, about}
			found[s] = append(found[s], m.Type.Code())
		}
	}
	return found
}

// analyze runs one analyzer as istioctl does over files.
func analyze(t *testing.T, path string, a analysis.Analyzer) []diag.Message {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	source := local.NewSourceAnalyzer(analysis.Combine("one", a), "", "istio-system", nil)
	// The same loader as for files of users, without the check of the schema, which some of the data does not pass.
	if err := source.AddTestReaderKubeSource([]local.ReaderSource{{Name: path, Reader: file}}); err != nil {
		t.Fatal(err)
	}
	if err := source.AddDefaultResources(); err != nil {
		t.Fatal(err)
	}
	result, err := source.Analyze(t.Context().Done())
	if err != nil {
		t.Fatal(err)
	}
	return result.Messages
}

// table writes the differences for docs/conformance.md.
func table(same int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Of %d objects and topics the two say the same. They differ in these:\n\n", same)
	b.WriteString("| file | objects | topic | istioctl analyze | Meshwarden | why |\n|---|---|---|---|---|---|\n")
	none := func(s string) string {
		if s == "" {
			return "nothing"
		}
		return s
	}
	for _, d := range differences() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", d.file, strings.Join(strings.Fields(d.objects), ", "), d.topic, none(d.analyze), none(d.meshwarden), d.why)
	}
	b.WriteString("\nNot compared:\n\n")
	others := elsewhere()
	for _, name := range slices.Sorted(maps.Keys(others)) {
		fmt.Fprintf(&b, "- %s: %s.\n", name, others[name])
	}
	return b.String()
}
