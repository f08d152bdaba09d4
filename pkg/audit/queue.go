package audit

import "github.com/meshwarden/meshwarden/pkg/policy"

// queue holds the objects that wait to be judged, each once, the longest waiting one first.
type queue struct {
	order []policy.Ref
	held  map[policy.Ref]bool
}

func (q *queue) add(refs ...policy.Ref) {
	if q.held == nil {
		q.held = map[policy.Ref]bool{}
	}
	for _, ref := range refs {
		if !q.held[ref] {
			q.held[ref] = true
			q.order = append(q.order, ref)
		}
	}
}

// take returns the next one, or false when there is none.
func (q *queue) take() (policy.Ref, bool) {
	if len(q.order) == 0 {
		q.order = nil
		return policy.Ref{}, false
	}
	ref := q.order[0]
	q.order = q.order[1:]
	delete(q.held, ref)
	return ref, true
}
