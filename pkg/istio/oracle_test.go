package istio

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// hostsFor says which hosts Istio lets VirtualServices of the namespace bind to, of a server's hosts in a Gateway of
// gatewayNamespace. It goes the way that Istio goes and not the package's own: first the list is written anew
// (sanitizeServerHostNamespace), then the entries of the namespace are chosen (NamesForNamespace). Istio indexes past the
// end of the new list when an entry that it rewrites follows "*/*": that is fails, and there "*" alone is what the package
// promises.
func hostsFor(written []string, gatewayNamespace, namespace string) (chosen []string, fails bool) {
	rewritten := append([]string(nil), written...)
	rewrite := func(i int, host string) {
		if i >= len(rewritten) {
			fails = true
			return
		}
		rewritten[i] = host
	}
	for i, w := range written {
		parts := strings.Split(w, "/")
		if len(parts) == 1 {
			continue
		}
		switch {
		case parts[0] == "*" && parts[1] == "*":
			rewritten = []string{"*"}
		case parts[0] == "*":
			rewrite(i, parts[1])
		case parts[0] == ".":
			rewrite(i, strings.Join([]string{gatewayNamespace, parts[1]}, "/"))
		}
	}
	chosen = []string{}
	for _, h := range rewritten {
		slash := strings.IndexByte(h, '/')
		if slash < 0 {
			chosen = append(chosen, h)
		} else if owner := h[:slash]; owner == namespace || owner == "*" {
			chosen = append(chosen, h[slash+1:])
		}
	}
	return chosen, fails
}

// ourHostsFor says the same by the package's own parsing.
func ourHostsFor(written []string, gatewayNamespace, namespace string) (chosen []string, fails bool) {
	hosts, _, fails := parseServerHosts(written, gatewayNamespace)
	chosen = []string{}
	for _, h := range hosts {
		if h.Namespace == policy.EveryNamespace || h.Namespace == namespace {
			chosen = append(chosen, string(h.Name))
		}
	}
	return chosen, fails
}

// gatewayNameOf resolves a reference to the text that Istio compares with "namespace/name" of each Gateway
// (resolveGatewayName), by indexes as Istio does.
func gatewayNameOf(written, namespace string) string {
	if slash := strings.Index(written, "/"); slash >= 0 {
		if written[:slash] == "." {
			return namespace + written[slash:]
		}
		return written
	}
	first := strings.Index(written, ".")
	if first < 0 {
		return namespace + "/" + written
	}
	rest := written[first+1:]
	if second := strings.Index(rest, "."); second >= 0 {
		rest = rest[:second]
	}
	return rest + "/" + written[:first]
}

// FuzzParseServerHost compares lists of hosts, written with commas between them, with what Istio makes of them.
func FuzzParseServerHost(f *testing.F) {
	for _, list := range []string{
		"", "a.example.com", "shop/a,edge/b", "./a,*/b,c", "*/*", "a,*/*,b", "*/*,./a", "*/*,*/*", "shop/a/b,./a/b,*/a/b", "/a", "*", "shop/*", "*/*/a", "./*,.", "/,//",
	} {
		f.Add(list, "edge", "shop")
		f.Add(list, "shop", "shop")
	}
	f.Fuzz(func(t *testing.T, list, gatewayNamespace, namespace string) {
		if strings.ContainsAny(gatewayNamespace+namespace, "/*") {
			t.Skip("no namespace has such a name")
		}
		written := strings.Split(list, ",")
		want, wantFails := hostsFor(written, gatewayNamespace, namespace)
		got, fails := ourHostsFor(written, gatewayNamespace, namespace)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("hosts of %q in namespace %q for namespace %q (-Istio +ours):\n%s", written, gatewayNamespace, namespace, diff)
		}
		if fails != wantFails {
			t.Errorf("hosts %q: unreadable %t, want %t", written, fails, wantFails)
		}
	})
}

// FuzzResolveGateway compares the name that a reference resolves to with the one that Istio makes of it.
func FuzzResolveGateway(f *testing.F) {
	for _, written := range []string{"mesh", "public", "edge/public", "./public", "public.edge", "public.edge.svc.cluster.local", "a/b/c", "", "/", ".", "..", "./", "a..b", "./mesh"} {
		f.Add(written, "shop")
	}
	f.Fuzz(func(t *testing.T, written, namespace string) {
		ref := resolveGateway(written, namespace)
		switch {
		case ref.Written != written:
			t.Errorf("resolveGateway(%q) forgets what was written: %q", written, ref.Written)
		case written == "mesh":
			if !ref.Mesh || ref.Gateway != (policy.Key{}) {
				t.Errorf("the mesh resolves to %+v", ref)
			}
		case ref.Mesh:
			t.Errorf("%q is not the mesh", written)
		case ref.Gateway.String() != gatewayNameOf(written, namespace):
			t.Errorf("%q in namespace %q resolves to %s, in Istio to %s", written, namespace, ref.Gateway, gatewayNameOf(written, namespace))
		}
	})
}
