package istio

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

func TestCredentials(t *testing.T) {
	one := func(c policy.Credential) []policy.Credential {
		c.Field = "tls.credentialName"
		return []policy.Credential{c}
	}
	tests := []struct {
		reason string
		block  tlsBlock
		pairs  []policy.Credential
		ca     policy.Credential
	}{
		{"none", tlsBlock{}, nil, policy.Credential{}},
		{"a name", tlsBlock{CredentialName: "web"}, one(policy.Credential{Name: "web"}), policy.Credential{}},
		{
			"several names count before one",
			tlsBlock{CredentialName: "web", CredentialNames: []string{"rsa", "ecdsa"}},
			[]policy.Credential{{Field: "tls.credentialNames[0]", Name: "rsa"}, {Field: "tls.credentialNames[1]", Name: "ecdsa"}},
			policy.Credential{},
		},
		{
			"a CA of its own",
			tlsBlock{CredentialName: "web", CACertCredentialName: "clients-cacert"},
			one(policy.Credential{Name: "web"}),
			policy.Credential{Field: "tls.caCertCredentialName", Name: "clients-cacert"},
		},
		{"the full name", tlsBlock{CredentialName: "kubernetes://web"}, one(policy.Credential{Name: "web"}), policy.Credential{}},
		{"with a namespace", tlsBlock{CredentialName: "kubernetes://edge/web"}, one(policy.Credential{Namespace: "edge", Name: "web"}), policy.Credential{}},
		{"with a namespace and no scheme", tlsBlock{CredentialName: "edge/web"}, one(policy.Credential{Namespace: "edge", Name: "web"}), policy.Credential{}},
		{"what comes after the name is nothing", tlsBlock{CredentialName: "edge/web/more"}, one(policy.Credential{Namespace: "edge", Name: "web"}), policy.Credential{}},
		{"the proxy's own certificate", tlsBlock{CredentialName: "builtin://"}, one(policy.Credential{}), policy.Credential{}},
		{"another server of secrets", tlsBlock{CredentialName: "sds://web"}, one(policy.Credential{}), policy.Credential{}},
		{"what the Gateway API refers to", tlsBlock{CredentialName: "kubernetes-gateway://edge/web"}, one(policy.Credential{}), policy.Credential{}},
		{"a ConfigMap", tlsBlock{CACertCredentialName: "configmap://edge/ca"}, nil, policy.Credential{Field: "tls.caCertCredentialName"}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			pairs, ca := tc.block.credentials()
			if diff := cmp.Diff([]any{tc.pairs, tc.ca}, []any{pairs, ca}); diff != "" {
				t.Errorf("credentials (-want +got):\n%s", diff)
			}
		})
	}
}
