package serve

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/go-logr/logr"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/meshwarden/meshwarden/cmd/webhook/version"
	"github.com/meshwarden/meshwarden/pkg/admission"
	"github.com/meshwarden/meshwarden/pkg/audit"
	"github.com/meshwarden/meshwarden/pkg/certificate"
	"github.com/meshwarden/meshwarden/pkg/informer"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/onboarding"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// run serves until the context ends, then drains and returns.
func run(ctx context.Context, s settings, log logr.Logger) error {
	if s.GenerateCertificate {
		if err := generateCertificate(s.CertDir, s.Namespace); err != nil {
			return err
		}
	}
	config, err := restConfig(s.Kubeconfig)
	if err != nil {
		return err
	}
	mgr, err := newManager(config, s)
	if err != nil {
		return err
	}
	if err := wire(ctx, mgr, s, log); err != nil {
		return err
	}
	if err := version.RegisterMetric(metrics.Registry); err != nil {
		return err
	}
	built := version.Get()
	log.Info("starting", "version", built.Version, "commit", built.Commit, "bindAddress", s.BindAddress, "enforcement", s.Enforcement, "backfill", s.Backfill)
	if err := mgr.Start(drained(ctx, s.DrainDelay, log)); err != nil {
		return fmt.Errorf("stopped serving: %w", err)
	}
	return nil
}

// drained returns a context that ends the delay after ctx does. Between the two the replica says that it is not ready
// and goes on serving, so that no request finds it gone.
func drained(ctx context.Context, delay time.Duration, log logr.Logger) context.Context {
	later, stop := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		log.Info("told to stop; draining", "delay", delay.String())
		time.AfterFunc(delay, stop)
	})
	return later
}

// restConfig leads to the API server, without a limit of the client's own: the API server's fairness is the limit.
func restConfig(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("cannot find the API server; outside a cluster, give --kubeconfig: %w", err)
	}
	config.QPS = -1
	config.UserAgent = "meshwarden"
	return config, nil
}

func newManager(config *rest.Config, s settings) (manager.Manager, error) {
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		LeaderElection:                s.LeaderElect,
		LeaderElectionID:              "meshwarden",
		LeaderElectionNamespace:       s.Namespace,
		LeaderElectionReleaseOnCancel: true, // the process ends right after, so nothing of it writes any more
		HealthProbeBindAddress:        s.HealthAddress,
		Metrics:                       metricsserver.Options{BindAddress: s.MetricsAddress},
		Cache: cache.Options{
			ReaderFailOnMissingInformer: true,
			DefaultTransform:            cache.TransformStripManagedFields(),
			ByObject:                    cached(s),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot set up the manager with the API server at %s: %w", config.Host, err)
	}
	return mgr, nil
}

// cached returns what the manager's cache holds of kinds of which it does not hold everything.
func cached(s settings) map[client.Object]cache.ByObject {
	objects := map[client.Object]cache.ByObject{
		&networkingv1.NetworkPolicy{}: {
			Field: fields.OneTermEqualSelector("metadata.name", policy.NetworkPolicyName),
			// Their managedFields tell whose they are.
			Transform: func(o any) (any, error) { return o, nil },
		},
	}
	if s.CertificateSecret != "" {
		maps.Copy(objects, certificate.Cached(client.ObjectKey{Namespace: s.Namespace, Name: s.CertificateSecret}, s.WebhookConfiguration))
	}
	return objects
}

// wire builds the parts and hands them to the manager.
func wire(ctx context.Context, mgr manager.Manager, s settings, log logr.Logger) error {
	model, err := mesh.New()
	if err != nil {
		return err
	}
	cluster, err := informer.New(informer.Options{
		Config: mgr.GetConfig(), Model: model, IstioNamespace: s.IstioNamespace, Given: s.mesh, ReadSecrets: s.ReadSecrets, Reader: mgr.GetAPIReader(),
		Registerer: metrics.Registry, Clock: clock.RealClock{}, Log: log.WithName("informer"),
	})
	if err != nil {
		return err
	}
	auditMetrics, err := audit.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	recorder, err := newEventRecorder(mgr.GetClient(), clock.RealClock{}, log.WithName("events"))
	if err != nil {
		return err
	}
	auditor := audit.New(audit.Options{
		Model: model, Cluster: cluster, Rules: s.rules, Recorder: recorder, Metrics: auditMetrics,
		Clock: clock.RealClock{}, Log: log.WithName("audit"),
	})
	admissionMetrics, err := admission.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	cert := newServing(s, log.WithName("certificate"))
	webhooks, err := newServer(ctx, s, cert.get, map[string]webhook.AdmissionHandler{
		admission.NamespacePath: admission.NewNamespaceHandler(s.excluded, admissionMetrics.AnsweredNamespace),
		admission.ValidatePath: admission.NewValidator(admission.Options{
			Model: model, Cluster: cluster, Rules: s.rules, Enforcement: policy.Action(s.Enforcement),
			Overridable: s.Overridable, Deadline: s.Deadline, Recorder: recorder, Metrics: admissionMetrics,
			Clock: clock.RealClock{}, Log: log.WithName("admission"),
		}),
	}, metrics.Registry, log.WithName("server"))
	if err != nil {
		return err
	}
	if err := onboarding.Setup(mgr, onboarding.Options{
		Backfill: s.backfill, Excluded: s.excluded, Events: recorder, Metrics: metrics.Registry,
		InstalledAt: (&installation{reader: mgr.GetAPIReader(), name: s.WebhookConfiguration}).time,
	}); err != nil {
		return err
	}
	if err := addServing(mgr, s, cert, recorder, log.WithName("certificate")); err != nil {
		return err
	}
	runnables := []manager.Runnable{webhooks, auditor, recorder}
	for _, i := range cluster.Informers() {
		runnables = append(runnables, i)
	}
	for _, r := range runnables {
		if err := mgr.Add(r); err != nil {
			return fmt.Errorf("cannot add a part to the manager: %w", err)
		}
	}
	return addChecks(ctx, mgr, cluster, cert, webhooks, metrics.Registry, log.WithName("readiness"))
}
