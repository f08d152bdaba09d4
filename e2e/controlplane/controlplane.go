// Package controlplane runs a Kubernetes control plane on this machine: etcd,
// kube-apiserver, kube-controller-manager, kube-scheduler and KWOK as child processes
// on free loopback ports, each of which a test can stop, pause, kill and start again.
//
// RBAC and service accounts are on. Without [Options.Nodes] there are no nodes: Pods
// can be created but nothing runs them. With them, KWOK plays Nodes and Pods: no
// container runs, but the Pods of every kind of workload become Ready or complete.
// Webhook Services lead to where [ControlPlane.Route] says.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"github.com/meshwarden/meshwarden/e2e/internal/port"
	"github.com/meshwarden/meshwarden/e2e/internal/route"
	"github.com/meshwarden/meshwarden/e2e/pki"
	"github.com/meshwarden/meshwarden/e2e/process"
)

const (
	// startAttempts is how often a start picks new ports when another process took
	// one of them in the meantime.
	startAttempts = 5
	// cleanupTimeout bounds the stop of what a failed start has started.
	cleanupTimeout = 20 * time.Second
)

// Options says how to start a control plane.
type Options struct {
	// Binary is the path of the controlplane program. Required.
	Binary string
	// Dir holds the state. A given folder is made if need be and kept by Stop, so
	// that a later Start goes on with the same objects, keys and certificates; only
	// one control plane at a time can use it. Empty means a temporary folder, which
	// Stop removes.
	Dir string
	// Roles are the processes to start; empty means Etcd, APIServer and
	// ControllerManager. They start in the order that they need each other in,
	// whatever their order here.
	Roles []Role
	// Nodes is how many Nodes there are, named node-1 and so on, ready and empty when
	// Start returns. If there are any, the roles Scheduler and Kwok start as well.
	Nodes int
	// KubeletImages are the images whose Pods KWOK leaves to package kubelet, by the
	// end of the repository: "istio/pilot" and "pilot" stand for
	// registry.example.com/istio/pilot:1.0. One container with such an image is enough.
	KubeletImages []string
	// APIServerArgs are further arguments of kube-apiserver.
	APIServerArgs []string
	// ControllerManagerArgs are further arguments of kube-controller-manager.
	ControllerManagerArgs []string
	// Log gets the logs of all roles, in whole lines that begin with the role; nil
	// drops them. Errors quote the last lines in any case.
	Log io.Writer
	// Progress is told in a line what happened; nil means that nobody listens.
	Progress func(string)
}

// ControlPlane is a started control plane. It is safe for concurrent use.
type ControlPlane struct {
	options Options
	roles   []Role
	state   *state
	ca      *pki.CA
	log     io.Writer

	// ports and admin change only while Start looks for free ports.
	ports map[Role]*port.Reservation
	admin *rest.Config

	mu        sync.Mutex
	processes map[Role]*process.Process
	routes    route.Table
	stopped   bool
}

// Start starts a control plane and returns when all its roles are ready. ctx
// bounds the start only; the caller ends the control plane with Stop. When Start
// fails, nothing is left behind.
func Start(ctx context.Context, options Options) (*ControlPlane, error) {
	if options.Binary == "" {
		return nil, errors.New("start control plane: the path of the controlplane program is missing")
	}
	roles, err := options.startOrder()
	if err != nil {
		return nil, fmt.Errorf("start control plane: %w", err)
	}
	state, err := openState(options.Dir)
	if err != nil {
		return nil, fmt.Errorf("start control plane: %w", err)
	}
	cp := &ControlPlane{
		options: options, roles: roles, state: state,
		log: options.Log, processes: map[Role]*process.Process{},
	}
	if cp.log != nil {
		cp.log = &lockedWriter{next: cp.log}
	}
	if err := cp.start(ctx); err != nil {
		// The start may have failed because ctx ended, which must not keep the processes
		// from being stopped. How they end tells no more than err does.
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		_ = cp.stopProcesses(cleanup)
		cp.releasePorts()
		return nil, errors.Join(fmt.Errorf("start control plane: %w", err), state.close())
	}
	return cp, nil
}

func (cp *ControlPlane) start(ctx context.Context) error {
	ca, err := cp.state.writeKeys()
	if err != nil {
		return err
	}
	cp.ca = ca
	for attempt := 1; ; attempt++ {
		err := cp.startOnNewPorts(ctx)
		if err == nil || attempt == startAttempts || !portTaken(err) {
			return err
		}
		cp.progress("a port was taken by another process; trying others")
		_ = cp.stopProcesses(ctx)
	}
}

func (cp *ControlPlane) startOnNewPorts(ctx context.Context) error {
	if err := cp.reservePorts(); err != nil {
		return err
	}
	if err := cp.writeAccess(); err != nil {
		return err
	}
	for _, role := range cp.roles {
		begin := time.Now()
		if err := cp.startRole(ctx, role); err != nil {
			return err
		}
		cp.progress(fmt.Sprintf("%s is ready (%.1fs)", role, time.Since(begin).Seconds()))
	}
	return cp.startNodes(ctx)
}

// writeAccess writes what tells others where the API server is: the kubeconfigs
// and the first route.
func (cp *ControlPlane) writeAccess() error {
	admin, err := cp.ConfigFor("kubernetes-admin", "system:masters")
	if err != nil {
		return err
	}
	cp.admin = admin
	if err := cp.writeRoleAccess(); err != nil {
		return err
	}
	routes := route.Table{route.Key("default", "kubernetes", 443): {cp.address(APIServer)}}
	cp.mu.Lock()
	cp.routes = routes
	cp.mu.Unlock()
	return errors.Join(
		WriteKubeconfig(admin, cp.state.kubeconfig()),
		route.Write(cp.state.routes(), routes),
		cp.writeStages(),
	)
}

// writeRoleAccess writes a kubeconfig for each role that is a client, as the user that
// the API server's own RBAC rules know. They know none for KWOK, which is every kubelet.
func (cp *ControlPlane) writeRoleAccess() error {
	var errs []error
	for _, r := range []struct {
		role   Role
		user   string
		groups []string
	}{
		{role: ControllerManager, user: "system:kube-controller-manager"},
		{role: Scheduler, user: "system:kube-scheduler"},
		{role: Kwok, user: "kwok", groups: []string{"system:masters"}},
	} {
		config, err := cp.ConfigFor(r.user, r.groups...)
		if err == nil {
			err = WriteKubeconfig(config, cp.state.roleKubeconfig(r.role))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// startRole starts the process of a role and waits until it is ready.
func (cp *ControlPlane) startRole(ctx context.Context, role Role) error {
	config := process.Config{
		Name: string(role),
		Path: cp.options.Binary,
		Args: append([]string{string(role)}, cp.arguments(role)...),
	}
	if role == Kwok {
		config.Env = cp.kwokEnvironment()
	}
	if cp.log != nil {
		config.Log = &prefixWriter{prefix: "[" + string(role) + "] ", next: cp.log}
	}
	cp.mu.Lock()
	if cp.stopped {
		cp.mu.Unlock()
		return fmt.Errorf("start %s: the control plane has been stopped", role)
	}
	child, err := process.Start(config)
	if err == nil {
		cp.processes[role] = child
	}
	cp.mu.Unlock()
	if err != nil {
		return err
	}
	return cp.WaitReady(ctx, role)
}

// Process returns the present process of a role, to be paused or killed; nil when
// the control plane was started without that role. After Restart it is another.
func (cp *ControlPlane) Process(role Role) *process.Process {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	return cp.processes[role]
}

// KubeletImages returns those of the Options.
func (cp *ControlPlane) KubeletImages() []string { return slices.Clone(cp.options.KubeletImages) }

// Restart starts a role again on the same port and data and waits until it is
// ready. A process that still runs is stopped first; a paused one is resumed.
func (cp *ControlPlane) Restart(ctx context.Context, role Role) error {
	old := cp.Process(role)
	if old == nil {
		return fmt.Errorf("restart %s: the control plane was started without it", role)
	}
	select {
	case <-old.Done():
	default:
		if err := old.Stop(ctx); err != nil {
			return fmt.Errorf("restart %s: %w", role, err)
		}
	}
	if err := cp.startRole(ctx, role); err != nil {
		return fmt.Errorf("restart %s: %w", role, err)
	}
	return nil
}

// Route tells the API server where a webhook Service leads from now on; the Service
// itself need not exist. The addresses are host:port; several take turns, and none
// means that connections are refused, as with a Service whose Pods are gone. A
// Service that was never routed is not found.
func (cp *ControlPlane) Route(namespace, service string, port int32, addresses ...string) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.stopped {
		return errors.New("set route: the control plane has been stopped")
	}
	changed := maps.Clone(cp.routes)
	changed[route.Key(namespace, service, port)] = append([]string{}, addresses...)
	if err := changed.Validate(); err != nil {
		return err
	}
	if err := route.Write(cp.state.routes(), changed); err != nil {
		return err
	}
	cp.routes = changed
	return nil
}

// Stop ends all processes and removes the temporary folder. A process that has not
// ended when ctx ends is killed. Stop reports a process that ended in an error,
// also an earlier one; a second call does nothing.
func (cp *ControlPlane) Stop(ctx context.Context) error {
	cp.mu.Lock()
	stopped := cp.stopped
	cp.stopped = true
	cp.mu.Unlock()
	if stopped {
		return nil
	}
	err := errors.Join(cp.stopProcesses(ctx), cp.state.close())
	cp.releasePorts()
	if err != nil {
		return fmt.Errorf("stop control plane: %w", err)
	}
	return nil
}

// stopProcesses stops the roles in the opposite order of their start, so that none
// lacks another that it needs to end cleanly. For the same reason it resumes all of
// them first, and kills those that depend on one that is gone: without etcd, the API
// server would try to reach it for minutes.
func (cp *ControlPlane) stopProcesses(ctx context.Context) error {
	var started []*process.Process
	for _, role := range cp.roles {
		if child := cp.Process(role); child != nil {
			started = append(started, child)
		}
	}
	intact := len(started)
	var errs []error
	for i, child := range started {
		err := child.Resume()
		if errors.Is(err, os.ErrProcessDone) {
			intact = min(intact, i)
		} else {
			errs = append(errs, err)
		}
	}
	for i, child := range slices.Backward(started) {
		if i > intact {
			errs = append(errs, child.Kill())
		}
		errs = append(errs, child.Stop(ctx))
	}
	return errors.Join(errs...)
}

func (cp *ControlPlane) progress(line string) {
	if cp.options.Progress != nil {
		cp.options.Progress(line)
	}
}

// portTaken recognises the failure of a child by its output, since that is all
// that comes across from another process.
func portTaken(err error) bool {
	return strings.Contains(err.Error(), "address already in use")
}
