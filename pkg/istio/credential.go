package istio

import (
	"fmt"
	"strings"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// tlsBlock holds the fields of a server's tls block that the rules read.
type tlsBlock struct {
	Mode                 string   `json:"mode"`
	CredentialName       string   `json:"credentialName"`
	CredentialNames      []string `json:"credentialNames"`
	CACertCredentialName string   `json:"caCertCredentialName"`
}

// secretScheme begins a credential's name where it is written in full.
const secretScheme = "kubernetes://"

// credentials returns what the tls block asks for by name. credentialNames count before credentialName:
// ApplyCredentialSDSToServerCommonTLSContext (pilot/pkg/security/model/authentication.go).
func (t *tlsBlock) credentials() (pairs []policy.Credential, ca policy.Credential) {
	for i, written := range t.CredentialNames {
		pairs = append(pairs, parseCredential(fmt.Sprintf("tls.credentialNames[%d]", i), written))
	}
	if len(t.CredentialNames) == 0 && t.CredentialName != "" {
		pairs = append(pairs, parseCredential("tls.credentialName", t.CredentialName))
	}
	if t.CACertCredentialName != "" {
		ca = parseCredential("tls.caCertCredentialName", t.CACertCredentialName)
	}
	return pairs, ca
}

// parseCredential tells the parts of a credential's name apart: Istio's ToResourceName and ParseResourceName
// (pilot/pkg/model/credentials). A scheme of which the rules know nothing leaves the name empty.
func parseCredential(field, written string) policy.Credential {
	c := policy.Credential{Field: field}
	name, _ := strings.CutPrefix(written, secretScheme)
	if strings.Contains(name, "://") {
		return c
	}
	namespace, rest, qualified := strings.Cut(name, "/")
	if !qualified {
		c.Name = name
		return c
	}
	c.Namespace = namespace
	c.Name, _, _ = strings.Cut(rest, "/")
	return c
}
