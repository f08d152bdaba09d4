package certificate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Trusts says whether the caBundle holds the CA.
func Trusts(bundle []byte, ca *x509.Certificate) bool {
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if bytes.Equal(block.Bytes, ca.Raw) {
			return true
		}
	}
	return false
}

// IssuerIn returns the certificate among the PEM-encoded ones that vouches for the serving certificate, or nil.
func IssuerIn(authorities []byte, serving *x509.Certificate) *x509.Certificate {
	certificates, _ := parseCertificates(authorities) // what cannot be read vouches for nothing
	for _, c := range certificates {
		if serving.CheckSignatureFrom(c) == nil {
			return c
		}
	}
	return nil
}

// clientConfigs returns where the webhooks of a configuration of either kind have their caBundles.
func clientConfigs(configuration client.Object) []*admissionregistrationv1.WebhookClientConfig {
	var configs []*admissionregistrationv1.WebhookClientConfig
	switch c := configuration.(type) {
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		for i := range c.Webhooks {
			configs = append(configs, &c.Webhooks[i].ClientConfig)
		}
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		for i := range c.Webhooks {
			configs = append(configs, &c.Webhooks[i].ClientConfig)
		}
	}
	return configs
}

// bundles returns the caBundles of all webhooks of the configurations.
func bundles(configurations []client.Object) [][]byte {
	var all [][]byte
	for _, configuration := range configurations {
		for _, c := range clientConfigs(configuration) {
			all = append(all, c.CABundle)
		}
	}
	return all
}

// withBundle returns a copy of the configuration whose webhooks all have the caBundle, and whether that changes anything.
func withBundle(configuration client.Object, bundle []byte) (client.Object, bool) {
	changed := false
	mended, _ := configuration.DeepCopyObject().(client.Object) // a copy is of the same type
	for _, c := range clientConfigs(mended) {
		if !bytes.Equal(c.CABundle, bundle) {
			c.CABundle, changed = bundle, true
		}
	}
	return mended, changed
}

// kindOf returns the kind of a webhook configuration.
func kindOf(configuration client.Object) string {
	if _, ok := configuration.(*admissionregistrationv1.MutatingWebhookConfiguration); ok {
		return "MutatingWebhookConfiguration"
	}
	return "ValidatingWebhookConfiguration"
}
