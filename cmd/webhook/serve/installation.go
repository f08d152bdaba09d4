package serve

import (
	"context"
	"fmt"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// installation knows since when Meshwarden is installed: since its webhook configuration exists. It asks until it has
// found out.
type installation struct {
	reader client.Reader
	name   string

	mu    sync.Mutex
	since time.Time
}

// time returns when Meshwarden was installed, to the second.
func (i *installation) time(ctx context.Context) (time.Time, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.since.IsZero() {
		return i.since, nil
	}
	c := &metav1.PartialObjectMetadata{}
	c.SetGroupVersionKind(admissionregistrationv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"))
	if err := i.reader.Get(ctx, client.ObjectKey{Name: i.name}, c); err != nil {
		return time.Time{}, fmt.Errorf("get MutatingWebhookConfiguration %s, whose age is Meshwarden's: %w", i.name, err)
	}
	i.since = c.CreationTimestamp.Time
	return i.since, nil
}
