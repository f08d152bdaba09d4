package controlplane

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/meshwarden/meshwarden/e2e/pki"
)

// Config returns access to the API server as a member of system:masters, without a
// limit on the client's rate of requests. The caller may change it.
func (cp *ControlPlane) Config() *rest.Config { return rest.CopyConfig(cp.admin) }

// ConfigFor returns access to the API server as another user, who has no rights
// but those that RBAC gives to the user or the groups. The user is authenticated by
// a client certificate, so system:authenticated is among the groups by itself.
func (cp *ControlPlane) ConfigFor(user string, groups ...string) (*rest.Config, error) {
	pair, err := cp.ca.Issue(pki.Identity{CommonName: user, Organizations: groups})
	if err != nil {
		return nil, fmt.Errorf("make access for %s: %w", user, err)
	}
	return &rest.Config{
		Host: "https://" + cp.address(APIServer),
		// A negative rate means none: tests measure the server, not their client.
		QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   cp.ca.Pair().Certificate,
			CertData: pair.Certificate,
			KeyData:  pair.Key,
		},
	}, nil
}

// Kubeconfig returns the path of the kubeconfig that gives the access of Config. It
// is a file in the folder of the state.
func (cp *ControlPlane) Kubeconfig() string { return cp.state.kubeconfig() }

// WriteKubeconfig writes a kubeconfig that gives the access of config to a file that
// only its owner can read. Keys and certificates have to be in config itself, as
// data, or be named by it as files.
func WriteKubeconfig(config *rest.Config, path string) error {
	const name = "meshwarden"
	file := api.NewConfig()
	file.Clusters[name] = &api.Cluster{
		Server:                   config.Host,
		TLSServerName:            config.ServerName,
		InsecureSkipTLSVerify:    config.Insecure,
		CertificateAuthority:     config.CAFile,
		CertificateAuthorityData: config.CAData,
	}
	file.AuthInfos[name] = &api.AuthInfo{
		ClientCertificate:     config.CertFile,
		ClientCertificateData: config.CertData,
		ClientKey:             config.KeyFile,
		ClientKeyData:         config.KeyData,
		Token:                 config.BearerToken,
		TokenFile:             config.BearerTokenFile,
		Impersonate:           config.Impersonate.UserName,
		ImpersonateGroups:     config.Impersonate.Groups,
	}
	file.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	file.CurrentContext = name
	if err := clientcmd.WriteToFile(*file, path); err != nil {
		return fmt.Errorf("write kubeconfig %s: %w", path, err)
	}
	return nil
}
