package mesh

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Reader reads objects where they are stored, past every cache.
type Reader interface {
	// Read returns the object as it is now, or nil when there is none. One that is stored and cannot be parsed counts as
	// none, as it does in the model.
	Read(ctx context.Context, ref policy.Ref) (policy.Resource, error)
}

// readsAtOnce is how many of the reads run beside each other: enough to hide their latency, too few to be a load.
const readsAtOnce = 8

// Refresh reads the objects again, eight at a time, and puts what it finds into the world. An error means that the world is
// as it was.
func (w *World) Refresh(ctx context.Context, r Reader, refs []policy.Ref) error {
	read := make([]policy.Resource, len(refs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for i, ref := range refs {
		group.Go(func() error {
			o, err := r.Read(ctx, ref)
			if err != nil {
				return fmt.Errorf("read %s: %w", ref, err)
			}
			read[i] = o
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, ref := range refs {
		if read[i] == nil {
			w.Remove(ref)
			continue
		}
		if err := w.Put(read[i]); err != nil {
			return err
		}
	}
	return nil
}
