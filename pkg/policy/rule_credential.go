package policy

import (
	"fmt"
	"maps"
	"slices"
)

/*
MW209: the certificates that a Gateway's servers ask for by name are where Istio looks for them, in order, and cover the hosts.

Reads:  Gateway spec.servers[*].tls (mode, credentialName, credentialNames, caCertCredentialName) and hosts; the workloads that it
selects; Certificates of cert-manager; the public part of Secrets, where these are known; the time
Passes: servers that Istio does not build; files, and what does not come from Secrets (sds://, builtin://, configmap://); a
Certificate that is being issued and has not failed, for an hour; a Secret whose namespace's Secrets are not known, unless a
Certificate or Secret of its name, for one of the hosts or beside the Gateway, is in another namespace and not copied from there;
host "*"; Gateways without a known workload, unless all is wrong in each namespace that the name is known in; of a chain, whatever
is not the leaf or the intermediate certificate that signed it (which may also be a root's copy that another CA has signed, unless
the root is beside it); a Certificate's common name, which some issuers make a DNS name
Source: Istio's CredentialsController (pilot/pkg/credentials/kube/secrets.go) and SecretGen (pilot/pkg/xds/sds.go): the namespace is
the proxy's, and a Secret of another one is refused; ApplyCredentialSDSToServerCommonTLSContext (pilot/pkg/security/model);
RFC 9525, 2 and 6.3, for what a certificate's names are
*/
func credential() Rule {
	return Rule{
		ID:    "MW209",
		Name:  "credential",
		Kinds: []Kind{KindGateway},
		Title: "A certificate that a server asks for is missing in the namespace of the gateway's workload, broken, expired or about to be, " +
			"or does not cover the server's hosts.",
		Remedy: "Put a valid certificate for all hosts into the Secret, in the namespace of the gateway's workload, or correct the Certificate " +
			"that writes it.",
		Action: Warn,
		Check: func(m Mesh, o Object) []Finding {
			if o.Gateway == nil {
				return nil
			}
			var on []placement
			var found []Finding
			known := map[string]bool{}
			for i := range o.Gateway.Servers {
				if !o.Gateway.Servers[i].fetches() {
					continue
				}
				if on == nil {
					on = placements(m, o.Gateway)
				}
				for _, f := range inspectServer(m, o.Gateway, i, on) {
					// What is wrong with one Secret is one finding, however many servers ask for it.
					if id := f.Identity(); !known[id] {
						known[id] = true
						found = append(found, f)
					}
				}
			}
			return found
		},
	}
}

// fetches says whether proxies ask istiod for the server's certificate: BuildListenerTLSContext
// (pilot/pkg/networking/core/listener.go).
func (s *Server) fetches() bool {
	ends := s.TLS == TLSSimple || s.checksClients()
	return ends && s.speaksTLS() && len(s.Credentials) > 0
}

// checksClients says whether the server checks certificates of clients against a CA of its own.
func (s *Server) checksClients() bool {
	return s.TLS == TLSMutual || s.TLS == TLSOptionalMutual
}

// site is a namespace in which a Gateway's workloads run, or may run where none is known.
type site struct {
	namespace string
	workloads []*Workload
}

// because says why the site is the one that counts.
func (s site) because() string {
	if len(s.workloads) == 0 {
		return "where the gateway's workload has to run"
	}
	return fmt.Sprintf("where %s runs", s.workloads[0].Reference)
}

// inspectServer returns what is wrong with the certificates of one server, in each namespace in which it comes to be.
func inspectServer(m Mesh, g *Gateway, server int, on []placement) []Finding {
	if !on[0].known && !m.Settings().ScopeGateways {
		if !on[0].live[server] {
			return nil
		}
		return inspectUnplaced(m, g, server)
	}
	sites := map[string]site{}
	for _, p := range on {
		if !p.live[server] {
			continue
		}
		at := sites[p.namespace()]
		at.namespace = p.namespace()
		if p.known {
			at.workloads = append(at.workloads, p.workload)
		}
		sites[at.namespace] = at
	}
	var found []Finding
	for _, namespace := range slices.Sorted(maps.Keys(sites)) {
		found = append(found, newInspection(m, g, server, sites[namespace]).findings()...)
	}
	return found
}

// inspectUnplaced judges a server of a Gateway for which no workload is known. That runs in one of the namespaces in which
// what the server asks for is known, or else the certificate is missing: where one of them has it in order, nothing is said.
func inspectUnplaced(m Mesh, g *Gateway, server int) []Finding {
	here := newInspection(m, g, server, site{namespace: g.Namespace})
	known := here.namesakes()
	var first []Finding
	for _, namespace := range slices.Sorted(maps.Keys(known)) {
		if !known[namespace] {
			continue
		}
		found := newInspection(m, g, server, site{namespace: namespace}).findings()
		if len(found) == 0 {
			return nil
		}
		if first == nil {
			first = found
		}
	}
	asked := g.Servers[server].Credentials[0]
	if len(known) > 0 || asked.Name == "" || !m.SecretsKnown(EveryNamespace) {
		return first
	}
	// The Gateway's own namespace is the likeliest one to have it since the model last heard.
	likely := Key{Namespace: g.Namespace, Name: asked.Name}
	text := fmt.Sprintf("no namespace has a Secret %s, and no Certificate writes one", asked.Name)
	here.report(asked, missing, text, Ref{KindSecret, likely}, Ref{KindCertificate, likely})
	return here.found
}

// namesakes returns the namespaces in which something of the name is known that the server asks for, and whether it is meant.
func (i *inspection) namesakes() map[string]bool {
	known := map[string]bool{}
	for _, asked := range i.gateway.Servers[i.server].Credentials {
		for c := range i.mesh.CertificatesWriting(asked.Name) {
			known[c.Namespace] = known[c.Namespace] || i.meant(c.Namespace, c.Names)
		}
		for s := range i.mesh.SecretsNamed(asked.Name) {
			known[s.Namespace] = known[s.Namespace] || i.meant(s.Namespace, s.Pair.subjects())
		}
	}
	return known
}
