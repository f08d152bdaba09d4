package suite

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// gateway returns a Gateway with one HTTP server that carries the hosts.
func gateway(namespace, name string, hosts ...string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {namespace: %s, name: %s}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [%s]
`, namespace, name, quoted(hosts))
}

// virtualService returns a VirtualService of one host with one route.
func virtualService(namespace, name, host string, gateways ...string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {namespace: %s, name: %s}
spec:
  hosts: [%s]
  gateways: [%s]
  http:
  - route:
    - destination: {host: web}
`, namespace, name, quoted([]string{host}), quoted(gateways))
}

func quoted(words []string) string {
	return `"` + strings.Join(words, `", "`) + `"`
}

// concurrently calls do for each item from n goroutines, and done after each, one at a time. The first error fails the
// test.
func concurrently[T any](t *testing.T, n int, items []T, do func(context.Context, T) error, done func()) {
	t.Helper()
	queue := make(chan T, len(items))
	for _, item := range items {
		queue <- item
	}
	close(queue)
	var mu sync.Mutex
	var first error
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for item := range queue {
				err := do(t.Context(), item)
				mu.Lock()
				if err != nil && first == nil {
					first = fmt.Errorf("%v: %w", item, err)
				}
				done()
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	noError(t, "concurrently", first)
}
