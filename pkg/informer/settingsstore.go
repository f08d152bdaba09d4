package informer

import (
	"fmt"

	"k8s.io/client-go/tools/cache"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// settingsStore shows what a reflector hears of to the settings, and then to the next store if there is one.
type settingsStore struct {
	settings *settings
	kind     policy.Kind
	next     reflected
	// listed is told of each list where there is no next store.
	listed func()
}

var _ reflected = (*settingsStore)(nil)

// Add implements cache.ReflectorStore.
func (s *settingsStore) Add(o any) error {
	object, err := objectOf(o)
	if err == nil {
		err = s.settings.put(s.kind, object)
	}
	if err != nil || s.next == nil {
		return err
	}
	return s.next.Add(o)
}

// Update implements cache.ReflectorStore.
func (s *settingsStore) Update(o any) error {
	return s.Add(o)
}

// Delete implements cache.ReflectorStore.
func (s *settingsStore) Delete(o any) error {
	object, err := objectOf(o)
	if err == nil {
		err = s.settings.remove(s.kind, object)
	}
	if err != nil || s.next == nil {
		return err
	}
	return s.next.Delete(o)
}

// Replace implements cache.ReflectorStore. The settings are in force before anybody hears that the list is there.
func (s *settingsStore) Replace(list []any, version string) error {
	objects := make([]istio.Object, 0, len(list))
	for _, o := range list {
		object, err := objectOf(o)
		if err != nil {
			return err
		}
		objects = append(objects, object)
	}
	if err := s.settings.replace(s.kind, objects); err != nil {
		return err
	}
	if s.next != nil {
		return s.next.Replace(list, version)
	}
	s.listed()
	return nil
}

// Resync implements cache.ReflectorStore.
func (s *settingsStore) Resync() error {
	return nil
}

// Transformer implements cache.TransformingStore.
func (s *settingsStore) Transformer() cache.TransformFunc {
	return withoutManagedFields
}

// clear implements reflected.
func (s *settingsStore) clear() error {
	if err := s.settings.replace(s.kind, nil); err != nil || s.next == nil {
		return err
	}
	return s.next.clear()
}

func objectOf(o any) (istio.Object, error) {
	object, ok := o.(istio.Object)
	if !ok {
		return nil, fmt.Errorf("not an object that is read: %T", o)
	}
	return object, nil
}
