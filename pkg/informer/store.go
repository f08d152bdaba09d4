package informer

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/cache"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// store is where a reflector puts what it hears: it translates each object into the model. An object that cannot be
// parsed is left out of the model, remembered, and blocks no other one.
type store struct {
	kind       policy.Kind
	model      *mesh.Model
	translator func() istio.Translator
	lag        *lag
	log        logr.Logger
	onReplace  func()

	mu         sync.Mutex
	unparsable map[policy.Key]error
}

var _ reflected = (*store)(nil)

// Add implements cache.ReflectorStore.
func (s *store) Add(o any) error {
	object, err := s.translate(o)
	if object == nil || err != nil {
		return err
	}
	if err := s.model.Put(object); err != nil {
		return err
	}
	s.lag.arrived(object.Ref(), o)
	return nil
}

// Update implements cache.ReflectorStore.
func (s *store) Update(o any) error {
	return s.Add(o)
}

// Delete implements cache.ReflectorStore.
func (s *store) Delete(o any) error {
	ref, err := s.refOf(o)
	if err != nil {
		return err
	}
	s.remember(ref.Key, nil)
	return s.model.Remove(ref)
}

// Replace implements cache.ReflectorStore.
func (s *store) Replace(list []any, _ string) error {
	objects := make([]policy.Resource, 0, len(list))
	listed := make(map[policy.Key]bool, len(list))
	for _, o := range list {
		ref, err := s.refOf(o)
		if err != nil {
			return err
		}
		listed[ref.Key] = true
		object, err := s.translate(o)
		if err != nil {
			return err
		}
		if object != nil {
			objects = append(objects, object)
		}
	}
	s.mu.Lock()
	maps.DeleteFunc(s.unparsable, func(key policy.Key, _ error) bool { return !listed[key] })
	s.mu.Unlock()
	if err := s.model.Replace(s.kind, objects); err != nil {
		return err
	}
	for _, o := range list {
		if ref, err := s.refOf(o); err == nil {
			s.lag.arrived(ref, o)
		}
	}
	s.onReplace()
	return nil
}

// clear implements reflected.
func (s *store) clear() error {
	s.mu.Lock()
	s.unparsable = map[policy.Key]error{}
	s.mu.Unlock()
	return s.model.Replace(s.kind, nil)
}

// Resync implements cache.ReflectorStore. The model has nothing to repeat.
func (s *store) Resync() error {
	return nil
}

// Transformer implements cache.TransformingStore.
func (s *store) Transformer() cache.TransformFunc {
	return withoutManagedFields
}

// withoutManagedFields takes from an object its heaviest part, of which a long list holds much while it arrives.
func withoutManagedFields(o any) (any, error) {
	m, err := meta.Accessor(o)
	if err != nil {
		return nil, fmt.Errorf("read an object's metadata: %w", err)
	}
	m.SetManagedFields(nil)
	return o, nil
}

// translate returns the object as the model holds it, or nil for one that it does not: one that cannot be parsed, which is
// reported, and a Secret that has nothing to do with TLS. Such a one is taken out of the model.
func (s *store) translate(o any) (policy.Resource, error) {
	ref, err := s.refOf(o)
	if err != nil {
		return nil, err
	}
	object, err := s.translator().Translate(o)
	s.remember(ref.Key, err)
	if err != nil {
		s.log.Info("a stored object cannot be parsed and is left out of every judgement", "object", ref.String(), "reason", err.Error())
		return nil, s.model.Remove(ref)
	}
	if secret, ok := object.(*policy.Secret); ok && !secret.Relevant() {
		return nil, s.forget(ref)
	}
	return object, nil
}

// forget takes the object out of the model. There are many Secrets that are not in it, and nobody is to hear of them.
func (s *store) forget(ref policy.Ref) error {
	if _, held := s.model.World().Object(ref); !held {
		return nil
	}
	return s.model.Remove(ref)
}

func (s *store) refOf(o any) (policy.Ref, error) {
	m, err := meta.Accessor(o)
	if err != nil {
		return policy.Ref{}, fmt.Errorf("read an object's metadata: %w", err)
	}
	return policy.Ref{Kind: s.kind, Key: policy.Key{Namespace: m.GetNamespace(), Name: m.GetName()}}, nil
}

func (s *store) remember(key policy.Key, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.unparsable, key)
	} else {
		s.unparsable[key] = err
	}
}

// all returns the keys of the objects that cannot be parsed.
func (s *store) all() []policy.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.unparsable))
}

// why returns why the object cannot be parsed, or nil when it can.
func (s *store) why(key policy.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unparsable[key]
}
