package suite

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/kube"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

// Helm creates and patches the Gateway before the VirtualService, and deletes the Namespace before both.
func TestHelm(t *testing.T) {
	t.Parallel()
	e := start(t, setup{replicas: 2, roles: []controlplane.Role{controlplane.Etcd, controlplane.APIServer, controlplane.ControllerManager}})
	for _, tc := range []struct {
		name       string
		serverSide bool
	}{{"server-side", true}, {"client-side", false}} {
		t.Run(tc.name, func(t *testing.T) { testHelm(t, e, newRelease(t, e, tc.name, tc.serverSide)) })
	}
}

func testHelm(t *testing.T, e *environment, r *release) {
	ctx := t.Context()
	wrong := revision{gateway: []string{hostA, hostB, hostC}, virtualService: []string{hostA, hostB, "typo.example.com"}}
	for _, tc := range []struct {
		reason string
		do     func() error
		denied []string // parts of the error
		stored revision
	}{
		{reason: "an install in one go", do: func() error { return r.install(ctx, both(hostA)) }, stored: both(hostA)},
		{reason: "a host added to both", do: func() error { return r.upgrade(ctx, both(hostA, hostB)) }, stored: both(hostA, hostB)},
		{
			reason: "a host that no gateway carries: the Gateway is upgraded, the VirtualService is not", do: func() error { return r.upgrade(ctx, wrong) },
			denied: []string{"spec.hosts[2]", "MW102", "typo.example.com"}, stored: revision{gateway: wrong.gateway, virtualService: []string{hostA, hostB}},
		},
		{reason: "the failed upgrade rolled back", do: func() error { return r.rollback(2) }, stored: both(hostA, hostB)},
		{
			reason: "a host renamed in both", do: func() error { return r.upgrade(ctx, both(hostA, hostC)) },
			denied: []string{"MW207", hostB, "VirtualService " + r.name + "/vs", "meshwarden.io/allow: MW207"}, stored: both(hostA, hostB),
		},
		{
			reason: "a host renamed in both, with the annotation", do: func() error { return r.upgrade(ctx, both(hostA, hostC).allowed()) },
			stored: both(hostA, hostC),
		},
		{
			reason: "a host removed from both: the Gateway comes first, while the VirtualService still has it", do: func() error { return r.upgrade(ctx, both(hostA)) },
			denied: []string{"MW207", hostC}, stored: revision{gateway: []string{hostA, hostC}, virtualService: []string{hostA}},
		},
		{reason: "Helm went on to the VirtualService, so the same again passes", do: func() error { return r.upgrade(ctx, both(hostA)) }, stored: both(hostA)},
		{reason: "the next upgrade", do: func() error { return r.upgrade(ctx, both(hostA, hostC)) }, stored: both(hostA, hostC)},
		{
			reason: "a rollback may remove a host as well", do: func() error { return r.rollback(1) },
			denied: []string{"MW207", hostC}, stored: revision{gateway: []string{hostA, hostC}, virtualService: []string{hostA}},
		},
	} {
		err := tc.do()
		if tc.denied != nil {
			wantError(t, tc.reason, err, tc.denied...)
		} else {
			noError(t, tc.reason, err)
		}
		e.wantStored(t, tc.reason, r.name, tc.stored)
	}
	noError(t, "uninstall", r.uninstall())
	e.wantGone(t, r.name)
}

// release is a release of the chart, which is stored outside of the namespace that it makes.
type release struct {
	name       string
	serverSide bool
	config     *action.Configuration
	chart      chart.Charter
}

func newRelease(t *testing.T, e *environment, name string, serverSide bool) *release {
	t.Helper()
	r := &release{name: name, serverSide: serverSide, config: e.helmConfiguration(t, "default")}
	var err error
	r.chart, err = loader.Load(filepath.Join("testdata", "shop"))
	noError(t, "load the chart", err)
	return r
}

// helmConfiguration has Helm's own settings, but nothing of the user's who runs the test. Releases are stored in the namespace.
func (e *environment) helmConfiguration(t *testing.T, namespace string) *action.Configuration {
	t.Helper()
	kubeconfig, cache := e.cp.Kubeconfig(), t.TempDir()
	settings := genericclioptions.NewConfigFlags(false)
	settings.KubeConfig, settings.Namespace, settings.CacheDir = &kubeconfig, &namespace, &cache
	config := action.NewConfiguration(action.ConfigurationSetLogger(slog.NewTextHandler(io.Discard, nil)))
	noError(t, "connect Helm", config.Init(settings, namespace, "secret"))
	return config
}

func (r *release) install(ctx context.Context, in revision) error {
	a := action.NewInstall(r.config)
	a.ReleaseName, a.Namespace, a.ServerSideApply = r.name, "default", r.serverSide
	a.WaitStrategy, a.Timeout = kube.StatusWatcherStrategy, patience
	_, err := a.RunWithContext(ctx, r.chart, in.values(r.name))
	return err
}

// upgrade and rollback apply as the install did, which is Helm's default.
func (r *release) upgrade(ctx context.Context, to revision) error {
	a := action.NewUpgrade(r.config)
	a.Namespace, a.WaitStrategy, a.Timeout = "default", kube.StatusWatcherStrategy, patience
	_, err := a.RunWithContext(ctx, r.name, r.chart, to.values(r.name))
	return err
}

func (r *release) rollback(version int) error {
	a := action.NewRollback(r.config)
	a.Version, a.WaitStrategy, a.Timeout = version, kube.StatusWatcherStrategy, patience
	return a.Run(r.name)
}

func (r *release) uninstall() error {
	a := action.NewUninstall(r.config)
	a.WaitStrategy, a.Timeout = kube.StatusWatcherStrategy, patience
	_, err := a.Run(r.name)
	return err
}

// values are the same revision for the chart.
func (r revision) values(namespace string) map[string]any {
	list := func(hosts []string) (l []any) {
		for _, h := range hosts {
			l = append(l, h)
		}
		return l
	}
	values := map[string]any{"namespace": namespace, "gatewayHosts": list(r.gateway), "virtualServiceHosts": list(r.virtualService)}
	if r.allow {
		values["gatewayAnnotations"] = map[string]any{"meshwarden.io/allow": "MW207"}
	}
	return values
}
