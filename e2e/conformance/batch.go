package conformance

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// Question asks Istio's generator about some objects of a world.
type Question struct {
	Token           Token
	Settings        Settings
	Gateways        []*Gateway
	VirtualServices []*VirtualService
	Services        []*corev1.Service
	Proxies         []Proxy
}

// alone says whether the question can share a run with none: a Gateway without a selector takes every proxy there is.
func (q *Question) alone() bool {
	return !q.Settings.ScopeGateways && slices.ContainsFunc(q.Gateways, func(g *Gateway) bool { return len(g.Spec.GetSelector()) == 0 })
}

// batchSize is how many questions share a run of the generator: enough to spread the cost of starting it, few enough that
// the Gateways and proxies, each compared with each, stay few.
const batchSize = 100

// Ask runs Istio's generator on the questions and returns the answers of each, one a proxy. Questions about worlds of
// different tokens share a run.
func Ask(questions []Question) ([][]Answer, error) {
	answers := make([][]Answer, len(questions))
	batches := batch(questions)
	var group sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	faults := make([]error, len(batches))
	for n, indexes := range batches {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			faults[n] = askTogether(questions, indexes, answers)
		})
	}
	group.Wait()
	for _, err := range faults {
		if err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// batch returns the positions of the questions that share a run.
func batch(questions []Question) [][]int {
	type open struct {
		position int
		tokens   map[Token]bool
	}
	var batches [][]int
	waiting := map[string][]*open{}
	for i := range questions {
		q := &questions[i]
		if q.alone() {
			batches = append(batches, []int{i})
			continue
		}
		shape := q.Settings.shape(q.Token)
		at := slices.IndexFunc(waiting[shape], func(o *open) bool {
			return len(batches[o.position]) < batchSize && !o.tokens[q.Token]
		})
		if at < 0 {
			waiting[shape] = append(waiting[shape], &open{position: len(batches), tokens: map[Token]bool{}})
			at = len(waiting[shape]) - 1
			batches = append(batches, nil)
		}
		o := waiting[shape][at]
		o.tokens[q.Token] = true
		batches[o.position] = append(batches[o.position], i)
	}
	// Runs with scoped Gateways wait for those without, and the other way round.
	slices.SortStableFunc(batches, func(a, b []int) int {
		return rank(questions[a[0]].Settings.ScopeGateways) - rank(questions[b[0]].Settings.ScopeGateways)
	})
	return batches
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// shape is what settings must have in common to share a run: all but the token.
func (s Settings) shape(t Token) string {
	return strings.ReplaceAll(fmt.Sprintf("%v %v %q", s.ScopeGateways, s.Domain, s.DefaultExportTo), string(t), "")
}

func askTogether(questions []Question, indexes []int, answers [][]Answer) error {
	r := Request{Settings: questions[indexes[0]].Settings}
	for _, i := range indexes {
		q := questions[i]
		for _, e := range q.Settings.DefaultExportTo {
			if !slices.Contains(r.Settings.DefaultExportTo, e) {
				r.Settings.DefaultExportTo = append(slices.Clip(r.Settings.DefaultExportTo), e)
			}
		}
		r.Gateways = append(r.Gateways, q.Gateways...)
		r.VirtualServices = append(r.VirtualServices, q.VirtualServices...)
		r.Services = append(r.Services, q.Services...)
		r.Proxies = append(r.Proxies, q.Proxies...)
	}
	got, err := Generate(r)
	if err != nil {
		return err
	}
	for _, i := range indexes {
		n := len(questions[i].Proxies)
		answers[i], got = got[:n:n], got[n:]
	}
	return nil
}
