package mesh_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// anyOf returns one of the values.
func anyOf[T any](r *rand.Rand, values ...T) T {
	return values[r.IntN(len(values))]
}

// anyLabels returns up to three pairs of few, so that they often agree.
func anyLabels(r *rand.Rand) labels {
	l := labels{}
	for range r.IntN(4) {
		l[anyOf(r, "app", "istio", "", "x\x00")] = anyOf(r, "a", "b", "", "b\x00")
	}
	return l
}

func anyKey(r *rand.Rand) policy.Key {
	return key(anyOf(r, "a", "b", "b-c"), anyOf(r, "m", "n", "n-o"))
}

// anyObject returns an object of any kind. There are so few names that one often takes another one's place.
func anyObject(r *rand.Rand) policy.Resource {
	switch k := anyKey(r); r.IntN(6) {
	case 0:
		s := policy.Server{Port: policy.Port{Number: 443, Protocol: "HTTPS"}, TLS: anyOf(r, policy.TLSSimple, policy.TLSMutual)}
		for range r.IntN(3) {
			s.Credentials = append(s.Credentials, policy.Credential{Field: "f", Name: anyOf(r, "m", "n", "", "n\x00")})
		}
		return policy.NewGateway(policy.Gateway{Key: k, Selector: anyLabels(r), Servers: []policy.Server{s}})
	case 1:
		v := virtualService(k.Namespace, k.Name)
		for range r.IntN(3) {
			v.Gateways = append(v.Gateways, policy.GatewayRef{Gateway: anyKey(r), Mesh: r.IntN(4) == 0})
		}
		return v
	case 2:
		return service(k.Namespace, k.Name, anyLabels(r))
	case 3:
		return &policy.Secret{Key: k}
	case 4:
		return &policy.Certificate{Key: k, SecretName: anyOf(r, "m", "n", "", "n\x00")}
	default:
		kind := anyOf(r, policy.KindDeployment, policy.KindDaemonSet, policy.KindStatefulSet, policy.KindPod)
		w := workload(kind, k.Namespace, k.Name, anyLabels(r))
		w.Router = r.IntN(3) == 0
		return w
	}
}

// answers asks the world everything that can be asked. What comes in no particular order is sorted.
func answers(w *mesh.World) map[string][]string {
	said := map[string][]string{"routers": {fmt.Sprint(w.Routers())}, "services": namesOf(w.Services())}
	for _, kind := range []policy.Kind{
		policy.KindGateway, policy.KindVirtualService, policy.KindService,
		policy.KindDeployment, policy.KindDaemonSet, policy.KindStatefulSet, policy.KindPod, policy.KindSecret, policy.KindCertificate,
	} {
		said["refs of "+string(kind)] = names(w.Refs(kind))
	}
	for _, namespace := range []string{"a", "b", "b-c"} {
		for _, name := range []string{"m", "n", "n-o"} {
			k := key(namespace, name)
			said["named "+name] = namesOf(w.GatewaysNamed(name))
			said["of "+k.String()] = namesOf(w.VirtualServicesOf(k))
			g, ok := w.Gateway(k)
			v, there := w.VirtualService(k)
			_, known := w.Secret(k)
			said["at "+k.String()] = []string{fmt.Sprintf("%p %t %p %t %t", g, ok, v, there, known)}
		}
	}
	for _, secret := range []string{"m", "n", "n-o", "m-cacert", "", "n\x00"} {
		said["secrets "+secret] = namesOf(w.SecretsNamed(secret))
		said["writing "+secret] = namesOf(w.CertificatesWriting(secret))
		said["asking for "+secret] = namesOf(w.GatewaysAskingFor(secret))
	}
	for _, one := range []string{"", "a", "b", "b\x00"} {
		for _, other := range []string{"", "a", "b"} {
			for _, l := range []labels{nil, {"app": one}, {"app": one, "istio": other}, {"": one, "x\x00": other, "app": other}} {
				said[fmt.Sprintf("selected by %q", l)] = namesOf(w.WorkloadsSelectedBy(l))
				said[fmt.Sprintf("selecting %q", l)] = sorted(w.GatewaysSelecting(l))
				said[fmt.Sprintf("within %q", l)] = sorted(w.GatewaysWithin(l))
				said[fmt.Sprintf("services of %q", l)] = sorted(w.ServicesSelecting("b", l))
			}
		}
	}
	return said
}

// TestEditedWorldIsAModelBuiltAnew puts and removes at random, in a world and in a list of objects, and compares what the
// world says with what a model of the list says.
func TestEditedWorldIsAModelBuiltAnew(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		objects := map[policy.Ref]policy.Resource{}
		m := newModel(t)
		for range r.IntN(40) {
			o := anyObject(r)
			objects[o.Ref()] = o
			if err := m.Put(o); err != nil {
				t.Fatal(err)
			}
		}
		w := m.World()
		for range r.IntN(12) {
			o := anyObject(r)
			if r.IntN(3) == 0 {
				delete(objects, o.Ref())
				w.Remove(o.Ref())
				continue
			}
			objects[o.Ref()] = o
			if err := w.Put(o); err != nil {
				t.Fatal(err)
			}
		}
		var list []policy.Resource
		for _, o := range objects {
			list = append(list, o)
		}
		if diff := cmp.Diff(answers(newModel(t, list...).World()), answers(w)); diff != "" {
			t.Fatalf("seed %d (-built anew +edited):\n%s", seed, diff)
		}
	}
}

// TestEditsWhileReading stops in the middle of a sequence, with an edit before, in the place of and after stored objects.
func TestEditsWhileReading(t *testing.T) {
	w := newModel(t, gateway("b", "public"), gateway("d", "public")).World()
	renewed := gateway("b", "public")
	for _, g := range []*policy.Gateway{gateway("e", "public"), gateway("a", "public"), renewed, gateway("c", "public"), gateway("c", "other")} {
		if err := w.Put(g); err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	for g := range w.GatewaysNamed("public") {
		all = append(all, g.Namespace)
		if g.Namespace == "b" && g != renewed {
			t.Error("the stored object comes and not the one that was put in its place")
		}
	}
	if want := []string{"a", "b", "c", "d", "e"}; !slices.Equal(all, want) {
		t.Errorf("Gateways of namespaces %v, want %v", all, want)
	}
	for stop := 1; stop <= len(all); stop++ {
		var some []string
		for g := range w.GatewaysNamed("public") {
			if some = append(some, g.Namespace); len(some) == stop {
				break
			}
		}
		if !slices.Equal(some, all[:stop]) {
			t.Errorf("the first %d Gateways are of %v, want %v", stop, some, all[:stop])
		}
	}
}
