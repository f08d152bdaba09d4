package serve

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/meshwarden/meshwarden/pkg/admission"
	"github.com/meshwarden/meshwarden/pkg/certificate"
)

// shortestLifetime is the shortest that a certificate may last: long enough for its replacement to get around.
const shortestLifetime = 10 * time.Second

// certificateOptions say where the serving certificate comes from.
type certificateOptions struct {
	CertDir             string
	GenerateCertificate bool
	CertificateSecret   string
	CertificateLifetime time.Duration
	CALifetime          time.Duration
}

func defaultCertificateOptions() certificateOptions {
	return certificateOptions{CertDir: "/etc/meshwarden/certs", CertificateLifetime: 2160 * time.Hour, CALifetime: 43800 * time.Hour}
}

func (o *certificateOptions) addTo(f *pflag.FlagSet) {
	f.StringVar(&o.CertDir, "cert-dir", o.CertDir, "the `folder` with tls.crt and tls.key, which are loaded again when they change")
	f.BoolVar(&o.GenerateCertificate, "generate-certificate", o.GenerateCertificate, "make ca.crt, tls.crt and tls.key in --cert-dir unless they are there: for local use")
	f.StringVar(&o.CertificateSecret, "certificate-secret", o.CertificateSecret, "the `name` of a Secret in Meshwarden's namespace, in which to make and renew a CA and the serving certificate, "+
		"in place of --cert-dir; the caBundle of the webhook configurations is then Meshwarden's too")
	f.DurationVar(&o.CertificateLifetime, "certificate-lifetime", o.CertificateLifetime, "how long a certificate in --certificate-secret lasts; it is renewed after two thirds of that")
	f.DurationVar(&o.CALifetime, "ca-lifetime", o.CALifetime, "how long a CA in --certificate-secret lasts; it is replaced after two thirds of that")
}

func (o *certificateOptions) validate(fault func(option string, err error)) {
	if o.CertDir == "" {
		fault("cert-dir", errors.New("must name a folder"))
	}
	if o.CertificateSecret != "" {
		if problems := validation.IsDNS1123Subdomain(o.CertificateSecret); len(problems) > 0 {
			fault("certificate-secret", fmt.Errorf("%q is no name: %s", o.CertificateSecret, strings.Join(problems, "; ")))
		}
		if o.GenerateCertificate {
			fault("certificate-secret", errors.New("makes a certificate of its own, and so does --generate-certificate: give one of them"))
		}
	}
	if o.CertificateLifetime < shortestLifetime {
		fault("certificate-lifetime", fmt.Errorf("must be at least %s", shortestLifetime))
	}
	if o.CALifetime < 2*o.CertificateLifetime {
		fault("ca-lifetime", errors.New("must be at least twice --certificate-lifetime, so that a CA outlives what it signs"))
	}
}

// serving is where the serving certificate comes from.
type serving interface {
	// get is a tls.Config's GetCertificate.
	get(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// ready is a healthz.Checker.
	ready(*http.Request) error
	// remedy is what to do when nobody renews the certificate.
	remedy() string
	// add adds to the manager what keeps the certificate current, and tells the expiry of it.
	add(mgr manager.Manager, expiry *certificate.Expiry) error
}

func newServing(s settings, log logr.Logger) serving {
	if s.CertificateSecret == "" {
		return newCertificateFiles(s.CertDir, log)
	}
	return &certificateSecret{
		secret:        client.ObjectKey{Namespace: s.Namespace, Name: s.CertificateSecret},
		configuration: s.WebhookConfiguration,
		terms: certificate.Terms{
			DNSNames: []string{serviceHost(s.Namespace)}, Lifetime: s.CertificateLifetime, CALifetime: s.CALifetime,
		},
	}
}

// serviceHost is the name by which the API server calls the webhooks.
func serviceHost(namespace string) string {
	return fmt.Sprintf("%s.%s.svc", admission.ServiceName, namespace)
}

// addServing adds to the manager what keeps the certificate, and what warns before it expires.
func addServing(mgr manager.Manager, s settings, cert serving, recorder events.EventRecorder, log logr.Logger) error {
	expiry, err := certificate.NewExpiry(certificate.ExpiryOptions{
		Events: recorder, Reader: mgr.GetAPIReader(), Service: client.ObjectKey{Namespace: s.Namespace, Name: admission.ServiceName},
		Remedy: cert.remedy(), Metrics: metrics.Registry, Clock: clock.RealClock{}, Log: log,
	})
	if err != nil {
		return err
	}
	if err := mgr.Add(expiry); err != nil {
		return fmt.Errorf("cannot add the watch of the certificate to the manager: %w", err)
	}
	return cert.add(mgr, expiry)
}

// certificateSecret is the certificate in a Secret, which the replicas make and renew themselves.
type certificateSecret struct {
	certificate.Holder
	secret        client.ObjectKey
	configuration string
	terms         certificate.Terms
}

func (c *certificateSecret) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.GetCertificate(hello)
}

func (c *certificateSecret) ready(r *http.Request) error { return c.Ready(r) }

func (c *certificateSecret) remedy() string {
	return fmt.Sprintf("Meshwarden's log says what keeps it from renewing; when that is mended, it goes on by itself, or at once with "+
		"kubectl -n %s annotate secret %s %s=%s --overwrite", c.secret.Namespace, c.secret.Name, certificate.RenewAnnotation, certificate.RenewCertificate)
}

func (c *certificateSecret) add(mgr manager.Manager, expiry *certificate.Expiry) error {
	return certificate.Setup(mgr, certificate.Options{
		Secret: c.secret, Configuration: c.configuration, Terms: c.terms, Holder: &c.Holder, Expiry: expiry,
		Metrics: metrics.Registry, Clock: clock.RealClock{},
	})
}
