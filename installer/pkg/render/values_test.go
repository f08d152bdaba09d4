package render_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/manifests"
	"istio.io/istio/operator/pkg/apis"
	"istio.io/istio/operator/pkg/apis/validation"
	istiorender "istio.io/istio/operator/pkg/render"
	"istio.io/istio/operator/pkg/values"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

func spec(t *testing.T, text string) map[string]any {
	t.Helper()
	s := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("the test's spec: %v", err)
	}
	return s
}

func TestCheck(t *testing.T) {
	const ignored = " (istiod ignores it, unless it is newer than Istio's charts in this program)"
	tests := []struct {
		reason, spec   string
		faults, doubts []string
	}{
		{reason: "no values", spec: `{}`},
		{reason: "null stands for nothing, wherever it is", spec: `{meshConfig: null, values: {global: null, pilot: {env: null, replicaCount: null, tolerations: [null]}, meshConfig: null}}`},
		{
			reason: "an unknown key that resembles another one", spec: `{values: {pilot: {replicaCout: 2}}}`,
			faults: []string{"spec.values.pilot.replicaCout: unknown key; did you mean replicaCount?"},
		},
		{reason: "in another case", spec: `{values: {Global: {}}}`, faults: []string{"spec.values.Global: unknown key; did you mean global?"}},
		{
			reason: "an unknown key, and little to choose from", spec: `{values: {pilot: {cni: {version: 1}}}}`,
			faults: []string{"spec.values.pilot.cni.version: unknown key; here can be chained, enabled, provider"},
		},
		{reason: "an unknown key, and much to choose from", spec: `{values: {nonsense: 1}}`, faults: []string{"spec.values.nonsense: unknown key"}},
		{
			reason: "every fault at once, unknown keys first",
			spec: `{values: {global: {proxy: {privileged: "yes", tracer: jaeger}, defaultTolerations: [{}, 5], imagePullSecrets: [a, 5], imagePullSecret: a},
				pilot: {replicaCount: many, autoscaleMin: -1, autoscaleMax: 1.5, traceSampling: a, env: [], image: 5, keepaliveMaxServerConnectionAge: 30, rollingMaxSurge: true, cni: []},
				gateways: {istio-ingressgateway: {labels: {a.b/c: true}, ports: {port: 80}, loadBalancerSourceRanges: 10.0.0.0/8}}, cni: 5}}`,
			faults: []string{
				`spec.values.global.imagePullSecret: unknown key; did you mean imagePullSecrets?`,
				`spec.values.cni: must be a mapping, and is 5`,
				`spec.values.gateways.istio-ingressgateway.labels.a.b/c: must be a string: put true in quotes`,
				`spec.values.gateways.istio-ingressgateway.loadBalancerSourceRanges: must be a list, and is the string "10.0.0.0/8"`,
				`spec.values.gateways.istio-ingressgateway.ports: must be a list, and is a mapping`,
				`spec.values.global.defaultTolerations[1]: must be a mapping, and is 5`,
				`spec.values.global.imagePullSecrets[1]: must be a string: put 5 in quotes`,
				`spec.values.global.proxy.privileged: must be true or false, and is the string "yes"`,
				`spec.values.global.proxy.tracer: must be one of zipkin, lightstep, datadog, stackdriver, openCensusAgent, none, and is the string "jaeger"`,
				`spec.values.pilot.autoscaleMax: must be a whole number, and is 1.5`,
				`spec.values.pilot.autoscaleMin: must be a whole number from 0 to 4294967295, and is -1`,
				`spec.values.pilot.cni: must be a mapping, and is a list`,
				`spec.values.pilot.env: must be a mapping, and is a list`,
				`spec.values.pilot.image: must be a string: put 5 in quotes`,
				`spec.values.pilot.keepaliveMaxServerConnectionAge: must be a duration such as "1m30s", and is 30`,
				`spec.values.pilot.replicaCount: must be a whole number, and is the string "many"`,
				`spec.values.pilot.rollingMaxSurge: must be a whole number or a string, and is true`,
				`spec.values.pilot.traceSampling: must be a number, and is the string "a"`,
			},
		},
		{reason: "numbers in quotes, which Istio takes", spec: `{values: {pilot: {replicaCount: "2", traceSampling: "0.5", rollingMaxSurge: "25%"}}}`},
		{reason: "what may hold anything", spec: `{values: {ztunnel: {any: 5}, gatewayClasses: [1], pilot: {env: {A: {b: [1]}}, tag: 1.31}}}`},
		{reason: "the names of the definitions", spec: `{values: {istio_cni: {enabled: true}, cni: {resource_quotas: {pods: 1}}}}`},
		{reason: "a name that Istio does not look at, as the other one is there", spec: `{values: {cni: {resource_quotas: 5, resourceQuotas: null}}}`},
		{reason: "what Istio writes over, and names to which it prefers the profile's", spec: `{values: {pilot: {enabled: a, cni: {enabled: a}}, gateways: {istio_ingressgateway: 5, istio_egressgateway: {a: 5}}}}`},
		{
			reason: "the mesh configuration, in both places",
			spec: `{meshConfig: {accessLogFil: /dev/stdout, enableTracing: 1}, values: {meshConfig: {accessLogEncoding: XML, extensionProviders: [{name: a, opentelemetry: {port: b, servce: c}}],
				defaultConfig: {proxyMetadata: {A: true}, holdApplicationUntilProxyStart: true, concurency: 2}}}}`,
			faults: []string{
				`spec.values.meshConfig.accessLogEncoding: must be one of TEXT, JSON, and is the string "XML"`,
				`spec.values.meshConfig.defaultConfig.proxyMetadata.A: must be a string: put true in quotes`,
				`spec.values.meshConfig.extensionProviders[0].opentelemetry.port: must be a whole number, and is the string "b"`,
				`spec.meshConfig.enableTracing: must be true or false, and is 1`,
			},
			doubts: []string{
				"spec.values.meshConfig.defaultConfig.concurency: unknown key; did you mean concurrency?" + ignored,
				"spec.values.meshConfig.defaultConfig.holdApplicationUntilProxyStart: unknown key; did you mean holdApplicationUntilProxyStarts?" + ignored,
				"spec.values.meshConfig.extensionProviders[0].opentelemetry.servce: unknown key; did you mean service?" + ignored,
				"spec.meshConfig.accessLogFil: unknown key; did you mean accessLogFile?" + ignored,
			},
		},
		{reason: "a mesh configuration that is none", spec: `{values: {meshConfig: 5}}`, faults: []string{"spec.values.meshConfig: must be a mapping, and is 5"}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			faults, doubts := render.Check(spec(t, tc.spec))
			if diff := cmp.Diff(tc.faults, texts(faults)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.doubts, texts(doubts)); diff != "" {
				t.Errorf("doubts (-want +got):\n%s", diff)
			}
			if refused := arrived(t, spec(t, tc.spec)) != ""; refused != (len(tc.faults) > 0) {
				t.Errorf("Istio refuses it: %t", refused)
			}
		})
	}
}

func texts(faults render.Faults) []string {
	var all []string
	for _, f := range faults {
		all = append(all, f.String())
	}
	return all
}

// judged returns what Istio's validation has against the keys and types of a spec; "" where it has nothing, whatever else it may not like.
func judged(spec map[string]any) string {
	return refusal(values.Map{"spec": spec})
}

// arrived returns the same of a spec that has come to Istio's validation by way of the renderer, which changes some values. That takes longer.
func arrived(t *testing.T, spec map[string]any) (refused string) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			refused = fmt.Sprintf("a panic: %v", r)
		}
	}()
	file := filepath.Join(t.TempDir(), "istiooperator.json")
	if err := os.WriteFile(file, []byte(values.Map{"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec}.JSON()), 0o600); err != nil {
		t.Fatal(err)
	}
	merged, err := istiorender.MergeInputs([]string{file}, nil, nil)
	if err != nil {
		return err.Error()
	}
	return refusal(merged)
}

func refusal(istioOperator values.Map) string {
	_, errs := validation.ParseAndValidateIstioOperator(istioOperator, nil)
	for _, err := range errs {
		for _, text := range []string{"could not unmarshal", "failed to convert to proto", "could not parse"} {
			if strings.Contains(err.Error(), text) {
				return err.Error()
			}
		}
	}
	return ""
}

// agree holds the verdict of Check on a spec against Istio's. Each fault must have one of the paths; where none is given, there must be no fault.
func agree(t *testing.T, spec map[string]any, paths ...string) {
	t.Helper()
	faults, _ := render.Check(spec)
	refused := judged(spec)
	if refused != "" && len(faults) == 0 {
		refused = arrived(t, spec)
	}
	if (refused != "") != (len(faults) > 0) {
		t.Errorf("%v\nIstio says %q, and Meshwarden %q", spec, refused, texts(faults))
	}
	for _, f := range faults {
		if !slices.ContainsFunc(paths, func(p string) bool { return strings.HasPrefix(f.Path, p) }) {
			t.Errorf("%v\na fault is said of %s, and is in %v", spec, f.Path, paths)
		}
	}
}

// Whatever Istio ships is judged as Istio judges it, and no profile has a fault or a doubt.
func TestCheckOfWhatIstioShips(t *testing.T) {
	files := map[string]int{}
	err := fs.WalkDir(manifests.FS, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(name, "profile-") && !strings.HasPrefix(name, "profiles/") && !strings.HasSuffix(name, "/values.yaml") {
			return err
		}
		content, err := fs.ReadFile(manifests.FS, name)
		if err != nil {
			return err
		}
		parsed := spec(t, string(content))
		if defaults, ok := parsed["_internal_defaults_do_not_set"].(map[string]any); ok {
			parsed = defaults
		}
		if s, ok := parsed["spec"].(map[string]any); ok {
			faults, doubts := render.Check(s)
			if len(faults)+len(doubts) > 0 {
				t.Errorf("%s: faults %q, doubts %q", name, texts(faults), texts(doubts))
			}
			files["profiles"]++
			return nil
		}
		// Most charts have their values at the top, and the renderer puts those of one component there.
		for _, within := range [][]string{{"values"}, {"values", "pilot"}, {"values", "cni"}, {"values", "gateways", "istio-ingressgateway"}, {"values", "ztunnel"}, {"values", "global"}} {
			s := values.MakeMap(map[string]any(values.Map(parsed).DeepClone()), within...)
			agree(t, plain(s), "spec."+strings.Join(within, "."))
		}
		if mesh := parsed["meshConfig"]; mesh != nil {
			if faults, doubts := render.Check(map[string]any{"meshConfig": mesh}); len(faults)+len(doubts) > 0 {
				t.Errorf("%s: faults %q, doubts %q", name, texts(faults), texts(doubts))
			}
			files["mesh configurations"]++
		}
		files["values"]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files["profiles"] < 10 || files["values"] < 50 || files["mesh configurations"] < 2 {
		t.Errorf("read %v, and there are more", files)
	}
}

// plain returns nested Maps as the mappings that they are.
func plain(m values.Map) map[string]any {
	for k, v := range m {
		if inner, ok := v.(values.Map); ok {
			m[k] = plain(inner)
		}
	}
	return m
}

// field is a place in a spec, as Istio's types describe it.
type field struct {
	path    []string // from the spec on; "[]" is the first item of a list, and "*" a key of a mapping
	message bool     // it holds keys that the types name
	mesh    bool     // it is part of the mesh configuration
	enum    string   // one of the values that it may have, if it has a type with names
}

// within returns a spec with nothing but a value in the place.
func (f field) within(v any) map[string]any {
	for _, key := range slices.Backward(f.path) {
		switch key {
		case "[]":
			v = []any{v}
		default:
			v = map[string]any{key: v}
		}
	}
	s, _ := v.(map[string]any)
	return s
}

func (f field) String() string {
	return "spec." + strings.ReplaceAll(strings.Join(f.path, "."), ".[]", "[0]")
}

// fields returns every place within a message, the message itself first.
func fields(md protoreflect.MessageDescriptor, at field) []field {
	at.message = md.ParentFile().Package() != "google.protobuf" && md.Name() != "IntOrString"
	all := []field{at}
	for i := range md.Fields().Len() {
		if !at.message || len(at.path) > 12 {
			break
		}
		fd := md.Fields().Get(i)
		place := field{path: append(slices.Clone(at.path), fd.JSONName()), mesh: at.mesh || fd.JSONName() == "meshConfig"}
		if fd.TextName() != fd.JSONName() { // by which Istio takes it as well
			all = append(all, field{path: append(slices.Clone(at.path), fd.TextName()), mesh: place.mesh})
		}
		if fd.IsList() || fd.IsMap() {
			all = append(all, place)
			place.path = append(slices.Clone(place.path), map[bool]string{true: "[]", false: "*"}[fd.IsList()])
		}
		if fd.IsMap() {
			fd = fd.MapValue()
		}
		switch {
		case fd.JSONName() == "meshConfig":
			all = append(all, fields((&meshconfig.MeshConfig{}).ProtoReflect().Descriptor(), place)...)
		case fd.Message() != nil:
			all = append(all, fields(fd.Message(), place)...)
		case fd.Enum() != nil:
			place.enum = string(fd.Enum().Values().Get(0).Name())
			all = append(all, place)
		default:
			all = append(all, place)
		}
	}
	return all
}

// everything returns all places of the values, and the first ones of the mesh configuration where it is not among them.
func everything() []field {
	mesh := fields((&meshconfig.MeshConfig{}).ProtoReflect().Descriptor(), field{path: []string{"meshConfig"}, mesh: true})
	mesh = slices.DeleteFunc(mesh, func(f field) bool { return len(f.path) > 2 })
	return slices.Concat(fields((&apis.Values{}).ProtoReflect().Descriptor(), field{path: []string{"values"}}), mesh)
}

// samples are values of every type, and such as have been known to be taken for another one.
func samples() []any {
	return []any{
		nil, true, "text", "5", "true", "", "30s", "null", "NaN", "1.5", int64(5), int64(-1), int64(5e9), 1.5, 1e30, float64(2),
		map[string]any{},
		map[string]any{"k": "v"},
		map[string]any{"k": int64(5)},
		map[string]any{"k": nil},
		[]any{},
		[]any{"a"},
		[]any{int64(5)},
		[]any{map[string]any{}},
		[]any{nil},
	}
}

// Each field of Istio's types, with a value of each type, is judged as Istio judges it.
func TestCheckAgreesWithIstio(t *testing.T) {
	places := everything()
	if len(places) < 800 {
		t.Fatalf("%d places, and there are more", len(places))
	}
	for _, f := range places {
		given, asked := samples(), false // asked: whether a fault is one on the long way, too
		if f.enum != "" {
			given = append(given, f.enum)
		}
		for _, v := range given {
			if f.message && len(f.path) == 1 {
				if _, ok := v.(map[string]any); !ok {
					continue // the spec itself is judged elsewhere
				}
			}
			agree(t, f.within(v), f.String())
			if faults, _ := render.Check(f.within(v)); len(faults) > 0 && !asked {
				asked = true
				if arrived(t, f.within(v)) == "" {
					t.Errorf("%v\nIstio accepts it, and Meshwarden says %q", f.within(v), texts(faults))
				}
			}
		}
		if f.message {
			s := f.within(map[string]any{"unknownKey": nil})
			agree(t, s, f.String()+".unknownKey")
			if _, doubts := render.Check(s); f.mesh != (len(doubts) == 1) {
				t.Errorf("%v: doubts %q", s, texts(doubts))
			}
		}
	}
}

// However many faults there are, each is found.
func TestCheckFindsAll(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	places := everything()
	for range 300 {
		s := map[string]any{}
		var want []string
		for range 1 + random.IntN(6) {
			f := places[random.IntN(len(places))]
			if !f.message || f.mesh || slices.Contains(f.path, "[]") {
				continue
			}
			key := fmt.Sprintf("unknownKey%d", len(want))
			values.Map(s).MergeFrom(f.within(map[string]any{key: true}))
			want = append(want, f.String()+"."+key)
		}
		faults, _ := render.Check(s)
		var got []string
		for _, f := range faults {
			got = append(got, f.Path)
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%v: paths of the faults (-want +got):\n%s", s, diff)
		}
	}
}
