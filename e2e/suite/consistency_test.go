package suite

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Pairs of writes in which the second is legal only because of the first. The model lags behind the first when the second
// is judged, and a denial would be false. No pair may be denied, with nothing else going on and under load.
func TestNoFalseDenials(t *testing.T) {
	const pairs = 200
	e := start(t, setup{replicas: 2, withoutRaceDetector: true})
	e.namespace(t, "pairs")
	for _, tc := range []struct {
		name, reason string
		pair         func(ctx context.Context, i int) error
	}{
		{
			name: "GatewayThenVirtualService", reason: "the VirtualService comes right after its Gateway",
			pair: e.gatewayThenVirtualService,
		},
		{
			name: "HostAddedThenUsed", reason: "the host comes to the Gateway right before it is used",
			pair: e.hostAddedThenUsed,
		},
		{
			name: "GatewayDeletedThenHostTaken", reason: "another Gateway takes over the host of one that was just deleted",
			pair: e.gatewayDeletedThenHostTaken,
		},
		{
			name: "VirtualServiceDeletedThenHostDropped", reason: "the host goes right after the VirtualService that used it",
			pair: e.virtualServiceDeletedThenHostDropped,
		},
	} {
		for _, clients := range []int{0, 8} {
			t.Run(fmt.Sprintf("%s/%dOtherClients", tc.name, clients), func(t *testing.T) {
				stop := e.load(t, clients)
				denied := 0
				for i := range pairs {
					if err := tc.pair(t.Context(), i+1000*clients); err != nil {
						if denied++; denied <= 3 {
							t.Errorf("%s: %v", tc.reason, err)
						}
					}
				}
				if written := stop(); denied > 0 {
					t.Errorf("%d of %d pairs were denied, beside %d other writes", denied, pairs, written)
				}
			})
		}
	}
}

func (e *environment) gatewayThenVirtualService(ctx context.Context, i int) error {
	name, host := fmt.Sprintf("a-%d", i), fmt.Sprintf("a-%d.example.com", i)
	return first(
		func() error { return e.apply(ctx, gateway("pairs", name, host)) },
		func() error { return e.apply(ctx, virtualService("pairs", name, host, name)) },
	)
}

func (e *environment) hostAddedThenUsed(ctx context.Context, i int) error {
	name, host := fmt.Sprintf("b-%d", i), fmt.Sprintf("b-%d.example.com", i)
	return first(
		func() error { return e.apply(ctx, gateway("pairs", name, "other.example.com")) },
		func() error { return e.apply(ctx, gateway("pairs", name, "other.example.com", host)) },
		func() error { return e.apply(ctx, virtualService("pairs", name, host, name)) },
	)
}

func (e *environment) gatewayDeletedThenHostTaken(ctx context.Context, i int) error {
	old, name, host := fmt.Sprintf("c-%d", i), fmt.Sprintf("d-%d", i), fmt.Sprintf("c-%d.example.com", i)
	return first(
		func() error { return e.apply(ctx, gateway("pairs", old, host)) },
		func() error { return e.client.Delete(ctx, object("Gateway", "pairs", old)) },
		func() error { return e.apply(ctx, gateway("pairs", name, host)) },
		func() error { return e.apply(ctx, virtualService("pairs", name, host, name)) },
	)
}

func (e *environment) virtualServiceDeletedThenHostDropped(ctx context.Context, i int) error {
	name, host := fmt.Sprintf("e-%d", i), fmt.Sprintf("e-%d.example.com", i)
	return first(
		func() error { return e.apply(ctx, gateway("pairs", name, host, "other.example.com")) },
		func() error { return e.apply(ctx, virtualService("pairs", name, host, name)) },
		func() error { return e.client.Delete(ctx, object("VirtualService", "pairs", name)) },
		func() error { return e.apply(ctx, gateway("pairs", name, "other.example.com")) },
	)
}

// A VirtualService that comes right after the deletion of its Gateway may be let in. None of them goes unnoticed.
func TestNoUnnoticedFalseAllowance(t *testing.T) {
	const pairs = 200
	e := start(t, setup{replicas: 2, withoutRaceDetector: true})
	e.namespace(t, "pairs")
	stored := 0
	for i := range pairs {
		name, host := fmt.Sprintf("f-%d", i), fmt.Sprintf("f-%d.example.com", i)
		e.mustApply(t, gateway("pairs", name, host))
		noError(t, "delete the gateway", e.client.Delete(t.Context(), object("Gateway", "pairs", name)))
		if err := e.apply(t.Context(), virtualService("pairs", name, host, name)); err == nil {
			stored++
		} else {
			wantError(t, "a VirtualService without its Gateway", err, "MW101")
		}
	}
	t.Logf("%d of %d were let in", stored, pairs)
	if stored > 0 {
		e.metric(t, fmt.Sprintf(`meshwarden_stored_findings{action="deny",rule="MW101"} %d`, stored))
	}
	e.logged(t, stored, "stored object does not comply", "MW101")
}

// first calls the functions in order, until one fails.
func first(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// load has clients write Gateways and VirtualServices of their own until the returned function is called, which returns
// how many writes there were and fails the test if one of them failed.
func (e *environment) load(t *testing.T, clients int) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var writes atomic.Int64
	failed := make(chan error, clients)
	done := make(chan struct{}, clients)
	for n := range clients {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("load-%d-%d", n, i%50)
				if err := e.writeRound(ctx, name, i/50); err != nil && ctx.Err() == nil {
					failed <- err
					return
				}
				writes.Add(3)
			}
		}()
	}
	return func() int {
		cancel()
		for range clients {
			<-done
		}
		select {
		case err := <-failed:
			t.Errorf("a write of the load failed: %v", err)
		default:
		}
		return int(writes.Load())
	}
}

// writeRound creates or changes a Gateway and its VirtualService, and deletes the VirtualService again.
func (e *environment) writeRound(ctx context.Context, name string, round int) error {
	host := fmt.Sprintf("%s.example.com", name)
	return first(
		func() error { return e.apply(ctx, gateway("pairs", name, host, fmt.Sprintf("r%d.example.com", round))) },
		func() error { return e.apply(ctx, virtualService("pairs", name, host, name)) },
		func() error {
			return client.IgnoreNotFound(e.client.Delete(ctx, object("VirtualService", "pairs", name)))
		},
	)
}

// One of two replicas is told to stop while clients write: no request fails.
func TestStopUnderLoad(t *testing.T) {
	// As long as by default: by then this machine has to have noticed, too, that a replica is not ready any more.
	e := start(t, setup{replicas: 2, args: []string{"--drain-delay=5s"}})
	e.namespace(t, "pairs")
	for round := range 2 {
		stop := e.load(t, 4)
		// Enough requests for every connection between the API server and the replicas to be in use.
		for i := range 50 {
			noError(t, "write", e.gatewayThenVirtualService(t.Context(), 10000*(round+1)+i))
		}
		noError(t, "stop a replica", e.replicas[round].Stop(background(t)))
		for i := range 50 {
			noError(t, "write", e.gatewayThenVirtualService(t.Context(), 50000*(round+1)+i))
		}
		t.Logf("%d writes beside the stop", stop())
		if round == 0 {
			// The other one may be the leader, the next time.
			e.replicas = append(e.replicas, e.startReplica(t))
		}
	}
	for _, line := range e.log.find("DATA RACE") {
		t.Error(line)
	}
	if strings.Contains(e.log.tail(1<<20), "panic") {
		t.Error("the log tells of a panic")
	}
}
