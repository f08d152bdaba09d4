package controlplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/meshwarden/meshwarden/e2e/internal/port"
)

// Role is one process of the control plane. Its text is also the subcommand of the
// controlplane program that runs it.
type Role string

// The roles, in the order in which they start.
const (
	Etcd              Role = "etcd"
	APIServer         Role = "apiserver"
	ControllerManager Role = "controller-manager"
	// Scheduler binds Pods to Nodes.
	Scheduler Role = "scheduler"
	// Kwok plays the Nodes, and the Pods that are bound to them.
	Kwok Role = "kwok"
)

const (
	loopback = port.Loopback
	// serviceIPs is where cluster IPs of Services come from. Nothing routes them.
	serviceIPs = "10.96.0.0/16"
	issuer     = "https://kubernetes.default.svc"

	// readyInterval, readyRequestTimeout and readyTimeout bound the wait for a role:
	// between two questions, for one answer, and in all.
	readyInterval       = 50 * time.Millisecond
	readyRequestTimeout = 10 * time.Second
	readyTimeout        = 5 * time.Minute
)

// Roles returns all roles, in the order in which they start.
func Roles() []Role { return []Role{Etcd, APIServer, ControllerManager, Scheduler, Kwok} }

// startOrder puts the roles that are to start in order and checks that each has what it needs.
func (o Options) startOrder() ([]Role, error) {
	all, roles := Roles(), o.Roles
	if len(roles) == 0 {
		roles = []Role{Etcd, APIServer, ControllerManager}
	}
	if o.Nodes > 0 {
		roles = append(slices.Clone(roles), Scheduler, Kwok)
	}
	var ordered []Role
	for i, role := range all {
		if !slices.Contains(roles, role) {
			continue
		}
		if len(ordered) < i {
			return nil, fmt.Errorf("role %s needs role %s", role, all[i-1])
		}
		ordered = append(ordered, role)
	}
	for _, role := range roles {
		if !slices.Contains(all, role) {
			return nil, fmt.Errorf("role %q does not exist; the roles are %v", role, all)
		}
	}
	return ordered, nil
}

// reservePorts picks a loopback port for each role, in place of those from before.
func (cp *ControlPlane) reservePorts() error {
	cp.releasePorts()
	cp.ports = map[Role]*port.Reservation{}
	for _, role := range cp.roles {
		reserved, err := port.Reserve()
		if err != nil {
			return fmt.Errorf("pick a free port for %s: %w", role, err)
		}
		cp.ports[role] = reserved
	}
	return nil
}

// releasePorts gives up the ports of the roles.
func (cp *ControlPlane) releasePorts() {
	for _, reserved := range cp.ports {
		reserved.Close()
	}
}

// address returns the host:port that a role listens on.
func (cp *ControlPlane) address(role Role) string {
	return cp.ports[role].Address()
}

// arguments returns the command line of a role, without the subcommand.
func (cp *ControlPlane) arguments(role Role) []string {
	switch role {
	case Etcd:
		return []string{
			"--data-dir=" + cp.state.path("etcd"),
			"--address=" + cp.address(Etcd),
			"--ca-file=" + cp.state.caFile(),
			"--cert-file=" + cp.state.serverFile(),
			"--key-file=" + cp.state.serverKeyFile(),
		}
	case APIServer:
		return append(cp.apiServerArguments(), cp.options.APIServerArgs...)
	case ControllerManager:
		return append(cp.controllerManagerArguments(), cp.options.ControllerManagerArgs...)
	case Scheduler:
		return cp.schedulerArguments()
	default:
		return cp.kwokArguments()
	}
}

func (cp *ControlPlane) apiServerArguments() []string {
	return []string{
		"--webhook-routes=" + cp.state.routes(),
		"--bind-address=" + loopback,
		"--advertise-address=" + loopback,
		"--secure-port=" + strconv.Itoa(cp.ports[APIServer].Number()),
		// Endpoints may not be loopback addresses, and nobody would use this one.
		"--endpoint-reconciler-type=none",
		"--etcd-servers=https://" + cp.address(Etcd),
		"--etcd-cafile=" + cp.state.caFile(),
		"--etcd-certfile=" + cp.state.serverFile(),
		"--etcd-keyfile=" + cp.state.serverKeyFile(),
		"--cert-dir=" + cp.state.path("pki"),
		"--tls-cert-file=" + cp.state.serverFile(),
		"--tls-private-key-file=" + cp.state.serverKeyFile(),
		"--client-ca-file=" + cp.state.caFile(),
		"--authorization-mode=RBAC",
		"--service-account-issuer=" + issuer,
		"--service-account-key-file=" + cp.state.serviceAccountFile(),
		"--service-account-signing-key-file=" + cp.state.serviceAccountKeyFile(),
		"--service-cluster-ip-range=" + serviceIPs,
		"--allow-privileged=true",
		// An open watch would hold up the stop for a minute otherwise.
		"--shutdown-watch-termination-grace-period=1s",
	}
}

func (cp *ControlPlane) controllerManagerArguments() []string {
	return []string{
		"--bind-address=" + loopback,
		"--secure-port=" + strconv.Itoa(cp.ports[ControllerManager].Number()),
		"--tls-cert-file=" + cp.state.serverFile(),
		"--tls-private-key-file=" + cp.state.serverKeyFile(),
		"--kubeconfig=" + cp.state.roleKubeconfig(ControllerManager),
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + cp.state.serviceAccountKeyFile(),
		"--root-ca-file=" + cp.state.caFile(),
		"--cluster-signing-cert-file=" + cp.state.caFile(),
		"--cluster-signing-key-file=" + cp.state.caKeyFile(),
		"--leader-elect=false",
		// On a machine that tests share, KWOK may come to renew the nodes' leases a minute late, and no pod is to be moved for that.
		"--node-monitor-grace-period=10m",
		// The default of 20 requests a second makes its start take five seconds longer.
		"--kube-api-qps=1000",
		"--kube-api-burst=1000",
		// It would make this folder in /usr otherwise.
		"--flex-volume-plugin-dir=" + cp.state.path("volume-plugins"),
	}
}

func (cp *ControlPlane) schedulerArguments() []string {
	return []string{
		"--bind-address=" + loopback,
		"--secure-port=" + strconv.Itoa(cp.ports[Scheduler].Number()),
		"--tls-cert-file=" + cp.state.serverFile(),
		"--tls-private-key-file=" + cp.state.serverKeyFile(),
		"--kubeconfig=" + cp.state.roleKubeconfig(Scheduler),
		"--leader-elect=false",
	}
}

// readiness is what a role answers when it is ready.
type readiness struct {
	// path is answered with status 200, and the answer contains text.
	path, text string
}

func (r Role) readiness() readiness {
	switch r {
	case Etcd:
		return readiness{path: "/health", text: `"health":"true"`}
	case APIServer, Scheduler:
		return readiness{path: "/readyz", text: "ok"}
	case Kwok:
		return readiness{path: "/healthz", text: "ok"}
	default:
		// It is healthy before it has any controllers, and ends if the API server fails
		// it then. The checks of all controllers are added at once, after the last.
		return readiness{path: "/healthz?verbose", text: "serviceaccount-controller ok"}
	}
}

// WaitReady waits until a role says that it is ready: after a start, or when it
// has been resumed or something that it depends on has come back. It fails at once
// when the process has ended.
func (cp *ControlPlane) WaitReady(ctx context.Context, role Role) error {
	child := cp.Process(role)
	if child == nil {
		return fmt.Errorf("wait for %s: the control plane was started without it", role)
	}
	client, err := cp.readyClient()
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, readyInterval, readyTimeout, true, func(ctx context.Context) (bool, error) {
		select {
		case <-child.Done():
			return false, cmp.Or(child.Err(), errors.New("it ended without an error"))
		default:
			last = askReady(ctx, client, "https://"+cp.address(role), role.readiness())
			return last == nil, nil
		}
	})
	if wait.Interrupted(err) {
		err = errors.Join(err, last)
	}
	if err != nil {
		return fmt.Errorf("wait for %s to be ready: %w", role, err)
	}
	return nil
}

// readyClient asks on a new connection each time: one from before a pause or a
// restart would say nothing about the process that listens now. The certificates
// make sure that it is not another process which took the port.
func (cp *ControlPlane) readyClient() (*http.Client, error) {
	tlsConfig, err := rest.TLSConfigFor(cp.admin)
	if err != nil {
		return nil, fmt.Errorf("make the client for readiness: %w", err)
	}
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true},
		Timeout:   readyRequestTimeout,
	}, nil
}

func askReady(ctx context.Context, client *http.Client, server string, want readiness) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+want.path, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() // only read from.
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !strings.Contains(string(body), want.text) {
		return fmt.Errorf("%s answered %s, want %q: %s", want.path, response.Status, want.text, body)
	}
	return nil
}
