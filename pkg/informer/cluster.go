package informer

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
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
	client     rest.Interface
	translator istio.Translator
	reader     client.Reader
	informers  []*Informer
	lag        *lag
	log        logr.Logger
}

// Options are what a Cluster is made from.
type Options struct {
	// Config leads to the API server. Its rate limits apply.
	Config *rest.Config
	// Model is what the informers feed.
	Model *mesh.Model
	// Translator resolves names as the mesh does.
	Translator istio.Translator
	// Reader reads Namespaces where they are stored, past every cache.
	Reader client.Reader
	// Registerer takes the metrics.
	Registerer prometheus.Registerer
	Clock      clock.Clock
	Log        logr.Logger
}

// New returns the cluster. Nothing is read before the informers start.
func New(o Options) (*Cluster, error) {
	client, err := restClient(o.Config)
	if err != nil {
		return nil, fmt.Errorf("cannot make a client for %s: %w", istio.GroupVersion(), err)
	}
	c := &Cluster{client: client, translator: o.Translator, reader: o.Reader, log: o.Log}
	histogram := lagHistogram()
	c.lag = &lag{clock: o.Clock, observer: histogram, expected: map[policy.Ref]expectation{}}
	for _, k := range kinds() {
		log := o.Log.WithValues("resource", k.resource)
		i := &Informer{
			kind: k, client: client, clock: o.Clock, log: log,
			retryNow: make(chan struct{}, 1), changed: make(chan struct{}),
		}
		i.store = &store{
			kind: k.kind, model: o.Model, translator: o.Translator, lag: c.lag, log: log,
			onReplace: func() { i.set(synced, nil) }, unparsable: map[policy.Key]error{},
		}
		c.informers = append(c.informers, i)
	}
	for _, metric := range []prometheus.Collector{histogram, newCollector(o.Model, c.informers)} {
		if err := o.Registerer.Register(metric); err != nil {
			return nil, fmt.Errorf("cannot register the model's metrics: %w", err)
		}
	}
	return c, nil
}

// restClient returns a client that decodes into this project's own lean types.
func restClient(config *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := istio.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.GroupVersion = new(istio.GroupVersion())
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	return rest.RESTClientFor(config)
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
	for _, i := range c.informers {
		if i.kind.kind == ref.Kind {
			return c.read(ctx, i.kind, ref.Key)
		}
	}
	return nil, fmt.Errorf("no resource holds objects of kind %s", ref.Kind)
}

func (c *Cluster) read(ctx context.Context, k kind, key policy.Key) (policy.Resource, error) {
	for _, segment := range []string{key.Namespace, key.Name} {
		// Names in a reference are anybody's text: one that would change the request's path, or that is longer than any
		// name, names no object.
		if segment == "" || len(segment) > validation.DNS1123SubdomainMaxLength || len(content.IsPathSegmentName(segment)) > 0 {
			return nil, nil
		}
	}
	o := k.object()
	err := c.client.Get().Namespace(key.Namespace).Resource(k.resource).Name(key.Name).Do(ctx).Into(o)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get %s %s: %w", k.resource, key, err)
	}
	object, err := c.translator.Translate(o)
	if err != nil {
		c.log.Info("an object read for a denial cannot be parsed and counts as missing", "object", key.String(), "reason", err.Error())
		return nil, nil
	}
	return object, nil
}

// Expect notes that admission lets a generation of the object pass, so that the model's lag behind it can be measured.
func (c *Cluster) Expect(ref policy.Ref, generation int64) {
	c.lag.expect(ref, generation)
}

// Unparsable returns the stored objects that cannot be parsed.
func (c *Cluster) Unparsable() []policy.Ref {
	var refs []policy.Ref
	for _, i := range c.informers {
		for _, key := range i.store.all() {
			refs = append(refs, policy.Ref{Kind: i.kind.kind, Key: key})
		}
	}
	return refs
}

// WhyUnparsable returns why a stored object cannot be parsed, or nil when it can.
func (c *Cluster) WhyUnparsable(ref policy.Ref) error {
	for _, i := range c.informers {
		if i.kind.kind == ref.Kind {
			return i.store.why(ref.Key)
		}
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
	for _, i := range c.informers {
		if i.kind.kind != ref.Kind {
			continue
		}
		o := i.kind.object()
		err := c.client.Get().Namespace(ref.Namespace).Resource(i.kind.resource).Name(ref.Name).Do(ctx).Into(o)
		if apierrors.IsNotFound(err) {
			return "", false, nil
		}
		if err != nil {
			return "", false, fmt.Errorf("get %s %s: %w", i.kind.resource, ref.Key, err)
		}
		m, err := meta.Accessor(o)
		if err != nil {
			return "", false, fmt.Errorf("read the metadata of %s: %w", ref, err)
		}
		return m.GetUID(), m.GetDeletionTimestamp() == nil, nil
	}
	return "", false, fmt.Errorf("no resource holds objects of kind %s", ref.Kind)
}
