package suite

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

// BenchmarkSize measures what the Deployment's requests and limits rest on: a replica's memory with nothing stored and with
// many VirtualServices, each on a Gateway of ten, and the CPU that their writes take.
func BenchmarkSize(b *testing.B) {
	e := startBare(b)
	r, err := e.Start(b.Context(), meshwarden.ReplicaOptions{})
	must(b, err)
	must(b, r.WaitReady(b.Context()))
	must(b, e.WaitInForce(b.Context()))
	must(b, e.createNamespace(b.Context(), "pairs"))
	for b.Loop() {
		stored := 0
		for _, total := range []int{0, 1_000, 10_000} {
			cpu := reading(b, r, "process_cpu_seconds_total")
			writes, ctx := errgroup.WithContext(b.Context())
			writes.SetLimit(16)
			for i := stored / 10; i < total/10; i++ {
				writes.Go(func() error { return e.writeTen(ctx, i) })
			}
			must(b, writes.Wait())
			b.ReportMetric(reading(b, r, "process_resident_memory_bytes")/(1<<20), fmt.Sprintf("MiB-at-%d", total))
			if n := total - stored; n > 0 {
				// Each ten come with a Gateway.
				b.ReportMetric((reading(b, r, "process_cpu_seconds_total")-cpu)*1000/(float64(n)*1.1), fmt.Sprintf("cpu-s/1000-writes-to-%d", total))
			}
			stored = total
		}
	}
}

// writeTen writes a Gateway and ten VirtualServices on it.
func (e *environment) writeTen(ctx context.Context, i int) error {
	name := fmt.Sprintf("g-%d", i)
	if err := e.apply(ctx, gateway("pairs", name, "*."+name+".example.com")); err != nil {
		return err
	}
	for n := range 10 {
		if err := e.apply(ctx, virtualService("pairs", fmt.Sprintf("%s-%d", name, n), fmt.Sprintf("v%d.%s.example.com", n, name), name)); err != nil {
			return err
		}
	}
	return nil
}

// startBare starts a control plane with Istio's CRDs, and installs Meshwarden as its users have it.
func startBare(b *testing.B) *environment {
	b.Helper()
	program, err := binary.Build(b.Context(), binary.ControlPlane, nil)
	must(b, err)
	e := &environment{log: &logBuffer{}}
	e.cp, err = controlplane.Start(b.Context(), controlplane.Options{Binary: program, Roles: []controlplane.Role{controlplane.Etcd, controlplane.APIServer}})
	must(b, err)
	b.Cleanup(func() { must(b, e.cp.Stop(context.WithoutCancel(b.Context()))) })
	e.client, err = client.New(e.cp.Config(), client.Options{})
	must(b, err)
	crds, err := controlplane.IstioCRDs(b.Context())
	must(b, err)
	must(b, e.cp.ApplyCRDs(b.Context(), crds))
	webhook, err := binary.Build(b.Context(), binary.Webhook, nil)
	must(b, err)
	e.Installation, err = meshwarden.Install(b.Context(), e.cp, meshwarden.Options{Binary: webhook, Dir: b.TempDir()})
	must(b, err)
	b.Cleanup(func() { must(b, e.Stop(context.WithoutCancel(b.Context()))) })
	return e
}

// reading returns the value of a metric without labels.
func reading(b *testing.B, r *meshwarden.Replica, name string) float64 {
	b.Helper()
	text, err := r.Metrics(b.Context())
	must(b, err)
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			number, err := strconv.ParseFloat(value, 64)
			must(b, err)
			return number
		}
	}
	b.Fatalf("there is no metric %s", name)
	return 0
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
