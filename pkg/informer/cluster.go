package informer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Cluster is the mesh of one cluster: the informers that feed the model, and the reads past it.
type Cluster struct {
	reader    client.Reader
	informers []*Informer
	stores    map[policy.Kind]*store
	settings  *settings
	lag       *lag
	log       logr.Logger
}

// Options are what a Cluster is made from.
type Options struct {
	// Config leads to the API server. Its rate limits apply.
	Config *rest.Config
	// Model is what the informers feed.
	Model *mesh.Model
	// IstioNamespace is where the mesh configuration and istiod are.
	IstioNamespace string
	// Given are the mesh-wide settings that are not to be read there.
	Given istio.MeshSettings
	// ReadSecrets has the public part of Secrets followed, too.
	ReadSecrets bool
	// Reader reads Namespaces where they are stored, past every cache.
	Reader client.Reader
	// Registerer takes the metrics.
	Registerer prometheus.Registerer
	Clock      clock.Clock
	Log        logr.Logger
}

// New returns the cluster. Nothing is read before the informers start.
func New(o Options) (*Cluster, error) {
	clients, err := newClients(o.Config)
	if err != nil {
		return nil, err
	}
	c := &Cluster{reader: o.Reader, stores: map[policy.Kind]*store{}, log: o.Log}
	c.settings = newSettings(o)
	histogram := lagHistogram()
	c.lag = &lag{clock: o.Clock, observer: histogram, expected: map[policy.Ref]expectation{}}
	if o.ReadSecrets {
		o.Model.KnowSecrets(policy.EveryNamespace)
	}
	for _, k := range kinds(o.IstioNamespace, o.ReadSecrets) {
		client, err := clients.of(k.kind)
		if err != nil {
			return nil, err
		}
		i := &Informer{
			kind: k, client: client, clock: o.Clock, log: o.Log.WithValues("resource", k.resource),
			retryNow: make(chan struct{}, 1), changed: make(chan struct{}),
		}
		i.store = c.storeOf(o.Model, i)
		c.informers = append(c.informers, i)
		if k.kind == policy.KindVirtualService {
			c.settings.retranslate = i.relist
		}
	}
	for _, metric := range []prometheus.Collector{histogram, newCollector(o.Model, c)} {
		if err := o.Registerer.Register(metric); err != nil {
			return nil, fmt.Errorf("cannot register the model's metrics: %w", err)
		}
	}
	return c, nil
}

// storeOf returns where the informer's objects go: the model, the settings, or both.
func (c *Cluster) storeOf(model *mesh.Model, i *Informer) reflected {
	if i.kind.kind == istio.KindConfigMap {
		return &settingsStore{settings: c.settings, kind: i.kind.kind, listed: i.listed}
	}
	s := &store{
		kind: i.kind.kind, model: model, translator: c.Translator, lag: c.lag, log: i.log,
		onReplace: i.listed, unparsable: map[policy.Key]error{},
	}
	c.stores[i.kind.kind] = s
	if i.kind.kind == policy.KindDeployment {
		return &settingsStore{settings: c.settings, kind: i.kind.kind, next: s}
	}
	return s
}

// Translator resolves names as the mesh does now.
func (c *Cluster) Translator() istio.Translator {
	return istio.Translator{ClusterDomain: c.settings.clusterDomain()}
}

// Informers returns the informers, for a manager to run.
func (c *Cluster) Informers() []*Informer {
	return c.informers
}

// Ready returns nil when the model can be relied on for every kind that the API server serves, and otherwise what is
// missing.
func (c *Cluster) Ready() error {
	var errs []error
	for _, i := range c.informers {
		_, err := i.settled(false)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// WaitReady waits until the model can be relied on, or the context ends. The kind of the object that the caller holds
// must exist, so the model has to know it even where its CRD came a moment ago.
func (c *Cluster) WaitReady(ctx context.Context, kind policy.Kind) error {
	for _, i := range c.informers {
		if err := i.wait(ctx, i.kind.kind == kind); err != nil {
			return err
		}
	}
	return nil
}

// Read implements mesh.Reader: a GET of the object by name.
func (c *Cluster) Read(ctx context.Context, ref policy.Ref) (policy.Resource, error) {
	for _, segment := range []string{ref.Namespace, ref.Name} {
		// Names in a reference are anybody's text: one that would change the request's path, or that is longer than any
		// name, names no object.
		if segment == "" || len(segment) > validation.DNS1123SubdomainMaxLength || len(content.IsPathSegmentName(segment)) > 0 {
			return nil, nil
		}
	}
	o, err := c.get(ctx, ref)
	if o == nil || err != nil {
		return nil, err
	}
	object, err := c.Translator().Translate(o)
	if err != nil {
		c.log.Info("an object read for a denial cannot be parsed and counts as missing", "object", ref.String(), "reason", err.Error())
		return nil, nil
	}
	return object, nil
}

// get returns the object as it is stored, or nil when there is none.
func (c *Cluster) get(ctx context.Context, ref policy.Ref) (istio.Object, error) {
	n := slices.IndexFunc(c.informers, func(i *Informer) bool { return i.kind.kind == ref.Kind })
	if _, held := c.stores[ref.Kind]; !held || n < 0 {
		return nil, fmt.Errorf("no resource holds objects of kind %s", ref.Kind)
	}
	i := c.informers[n]
	o := i.kind.empty()
	err := i.client.Get().Namespace(ref.Namespace).Resource(i.kind.resource).Name(ref.Name).Do(ctx).Into(o)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get %s %s: %w", i.kind.resource, ref.Key, err)
	}
	return o, nil
}

// Expect notes that admission lets a generation of the object pass, so that the model's lag behind it can be measured.
func (c *Cluster) Expect(ref policy.Ref, generation int64) {
	c.lag.expect(ref, generation)
}

// Unparsable returns the stored objects that cannot be parsed.
func (c *Cluster) Unparsable() []policy.Ref {
	var refs []policy.Ref
	for kind, s := range c.stores {
		for _, key := range s.all() {
			refs = append(refs, policy.Ref{Kind: kind, Key: key})
		}
	}
	return refs
}

// WhyUnparsable returns why a stored object cannot be parsed, or nil when it can.
func (c *Cluster) WhyUnparsable(ref policy.Ref) error {
	if s, ok := c.stores[ref.Kind]; ok {
		return s.why(ref.Key)
	}
	return nil
}

// Terminating says whether the namespace is being deleted, or gone already. It asks the API server.
func (c *Cluster) Terminating(ctx context.Context, namespace string) (bool, error) {
	n := &metav1.PartialObjectMetadata{}
	n.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := c.reader.Get(ctx, client.ObjectKey{Name: namespace}, n)
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("get namespace %s: %w", namespace, err)
	}
	return n.DeletionTimestamp != nil, nil
}

// Identify returns the UID of the object, and whether it is there and not being deleted. It asks the API server.
func (c *Cluster) Identify(ctx context.Context, ref policy.Ref) (types.UID, bool, error) {
	o, err := c.get(ctx, ref)
	if o == nil || err != nil {
		return "", false, err
	}
	return o.GetUID(), o.GetDeletionTimestamp() == nil, nil
}
