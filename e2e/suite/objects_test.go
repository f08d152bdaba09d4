package suite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
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

// refused returns an error unless err is the refusal.
func refused(err error, refusal string) error {
	switch {
	case refusal == "" && err != nil:
		return fmt.Errorf("not allowed: %w", err)
	case refusal != "" && err == nil:
		return fmt.Errorf("allowed, want a refusal with %q", refusal)
	case refusal != "" && !strings.Contains(err.Error(), refusal):
		return fmt.Errorf("%w, want a refusal with %q", err, refusal)
	}
	return nil
}

// gone returns an error unless err, of reading an object, says that it is not there.
func gone(err error) error {
	if err == nil {
		return errors.New("it is there")
	}
	return client.IgnoreNotFound(err)
}

// What a test waits for in vain says why, in words.
func TestAnswers(t *testing.T) {
	notFound := apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "shop")
	for _, tc := range []struct {
		reason string
		got    error
		want   string
	}{
		{"allowed", refused(nil, ""), ""},
		{"refused as expected", refused(errors.New("no: MW101"), "MW101"), ""},
		{"refused by mistake", refused(errors.New("no"), ""), "not allowed: no"},
		{"allowed by mistake", refused(nil, "MW101"), `allowed, want a refusal with "MW101"`},
		{"refused for another reason", refused(errors.New("no"), "MW101"), `no, want a refusal with "MW101"`},
		{"not there", gone(notFound), ""},
		{"there", gone(nil), "it is there"},
		{"nobody knows", gone(errors.New("no connection")), "no connection"},
	} {
		if got := strings.TrimPrefix(fmt.Sprint(tc.got), "<nil>"); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.reason, got, tc.want)
		}
	}
}
