package policy

import (
	"fmt"
	"strings"
)

// caSuffix ends the name of a Secret that holds a CA alone: Istio's SdsCaSuffix (pilot/pkg/model/credentials).
const caSuffix = "-cacert"

// ca reports what is wrong with the CA that the server checks clients' certificates against: that of its first credential, or
// the one that caCertCredentialName names. Istio's GetCaCert looks for a Secret with the suffix -cacert, which counts as soon as
// it is there, and then for the one without it; but it is only asked about names with the suffix (SecretGen.generate in
// pilot/pkg/xds/sds.go), which istiod appends to the first credential's name and not to the other one.
func (i *inspection) ca(s *Server) {
	asked, explicit := s.Credentials[0], s.CA.Field != ""
	if explicit {
		asked = s.CA
	}
	name := strings.TrimSuffix(asked.Name, caSuffix)
	switch {
	case name == "", asked.Namespace != "" && asked.Namespace != i.at.namespace:
		return
	case explicit && name == asked.Name:
		i.report(asked, withoutCA, fmt.Sprintf("mode %s needs a CA to check clients against, but under the name %q Istio gives proxies a key "+
			"pair: a CA has a name that ends in %s, and %q finds that of Secret %s, too",
			s.TLS, asked.Name, caSuffix, asked.Name+caSuffix, asked.Name))
		return
	}
	alone, shared := Key{i.at.namespace, name + caSuffix}, Key{i.at.namespace, name}
	asked.Name = alone.Name
	if secret, ok := i.mesh.Secret(alone); ok {
		i.caOf(asked, secret, "")
		return
	}
	if i.writer(alone) != nil {
		return
	}
	without := fmt.Sprintf(", and there is no Secret %s", alone)
	secret, ok := i.mesh.Secret(shared)
	known := i.mesh.SecretsKnown(i.at.namespace)
	switch c := i.writer(shared); {
	case ok && c != nil && !c.Ready, ok && secret.CA.Absent && !known, !ok && c != nil:
		// It is about to be written, or may be where it is not known.
	case ok:
		i.caOf(asked, secret, without)
	case known && explicit:
		i.report(asked, missing, fmt.Sprintf("there is neither Secret %s nor %s, %s", alone, shared, i.at.because()),
			Ref{KindSecret, alone}, Ref{KindSecret, shared})
	}
}

// caOf reports what is wrong with the CA in a Secret. without says of one that is not there for the CA alone.
func (i *inspection) caOf(asked Credential, secret *Secret, without string) {
	if secret.Sealed {
		return
	}
	why, text := secret.CA.trouble(i.mesh.Now())
	if why == expiring && i.writer(secret.Key) != nil {
		return
	}
	grounds := []Ref{secret.Ref()}
	if without != "" {
		grounds = append(grounds, Ref{KindSecret, Key{i.at.namespace, asked.Name}})
	}
	switch why {
	case inOrder:
	case missing:
		i.report(asked, withoutCA, fmt.Sprintf("mode %s needs a CA to check clients against, but Secret %s %s%s",
			i.gateway.Servers[i.server].TLS, secret.Key, text, without), grounds...)
	default:
		i.report(asked, why, fmt.Sprintf("the CA for clients: Secret %s %s", secret.Key, text), grounds...)
	}
}

// SecretNames returns the names of the Secrets that the Gateway's verdict may depend on, each once.
func (g *Gateway) SecretNames() []string {
	var names []string
	seen := map[string]bool{"": true}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for i := range g.Servers {
		s := &g.Servers[i]
		if !s.fetches() {
			continue
		}
		for _, asked := range s.Credentials {
			add(asked.Name)
		}
		asked := s.Credentials[0]
		if s.CA.Field != "" {
			asked = s.CA
		}
		if name := strings.TrimSuffix(asked.Name, caSuffix); s.checksClients() && name != "" {
			add(name)
			add(name + caSuffix)
		}
	}
	return names
}
