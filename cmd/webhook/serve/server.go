package serve

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/server"
)

// getCertificate is a tls.Config's GetCertificate.
type getCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// newServer returns the server of the handlers, each at its path and with limits of its own. ctx is the one that ends when
// the process is told to stop.
func newServer(ctx context.Context, s settings, cert getCertificate, handlers map[string]admission.Handler, r prometheus.Registerer, log logr.Logger) (*server.Server, error) {
	var clients *server.Clients
	if s.ClientCAFile != "" {
		var err error
		if clients, err = server.NewClients(s.ClientCAFile, s.ClientNames, log); err != nil {
			return nil, fmt.Errorf("--client-ca-file: %w", err)
		}
	}
	metrics, err := server.NewMetrics(r)
	if err != nil {
		return nil, err
	}
	limits := server.Limits{InFlight: s.MaxRequestsInFlight, Bytes: s.MaxRequestBytes, Metrics: metrics, Log: log}
	mux := http.NewServeMux()
	for path, handler := range handlers {
		// It decodes, and counts in controller-runtime's own metrics.
		webhook, err := admission.StandaloneWebhook(&admission.Webhook{Handler: handler}, admission.StandaloneOptions{MetricsPath: path})
		if err != nil {
			return nil, fmt.Errorf("cannot serve %s: %w", path, err)
		}
		mux.Handle(path, limits.Wrap(webhook))
	}
	return server.New(server.Options{
		Address: s.BindAddress, TLS: server.NewTLSConfig(s.tlsMinVersion, cert, clients), Handler: mux,
		RequestTimeout: s.RequestTimeout, Deadline: s.Deadline,
		Draining: func() bool { return ctx.Err() != nil },
	}), nil
}
