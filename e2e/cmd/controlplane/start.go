package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

// stopTimeout is how long the roles get to end by themselves.
const stopTimeout = 30 * time.Second

// webhookRoute is where the API server finds a webhook Service.
type webhookRoute struct {
	namespace, service string
	port               int32
	address            string
}

type startOptions struct {
	dir                      string
	logFile                  string
	withoutControllerManager bool
	nodes                    int
	routes                   []webhookRoute
}

// start starts a control plane, prints the path of its kubeconfig, and stays until
// SIGINT, SIGTERM, the end of its parent or the end of one of its roles.
func start(arguments []string, parentGone <-chan struct{}) (err error) {
	options, err := parseStart(arguments)
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	go func() {
		<-parentGone
		end(context.Canceled)
	}()

	log, closeLog, err := openLog(options.logFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	cp, err := startControlPlane(ctx, options, log)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() {
		// From here on another signal ends the program the hard way.
		cancel()
		progress("stopping")
		stopping, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		// The reason comes last, where it is not lost above the logs of a role.
		err = errors.Join(cp.Stop(stopping), err)
	}()
	for _, r := range options.routes {
		if err := cp.Route(r.namespace, r.service, r.port, r.address); err != nil {
			return err
		}
	}
	watchRoles(cp, end)
	fmt.Println(cp.Kubeconfig())
	<-ctx.Done()
	return interrupted(ctx, context.Cause(ctx))
}

func startControlPlane(ctx context.Context, options startOptions, log io.Writer) (*controlplane.ControlPlane, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, which runs the roles too: %w", err)
	}
	roles := []controlplane.Role{controlplane.Etcd, controlplane.APIServer}
	if !options.withoutControllerManager {
		roles = append(roles, controlplane.ControllerManager)
	}
	return controlplane.Start(ctx, controlplane.Options{
		Binary: self, Dir: options.dir, Roles: roles, Nodes: options.nodes, Log: log, Progress: progress,
	})
}

// watchRoles ends the whole when a role ends by itself.
func watchRoles(cp *controlplane.ControlPlane, end context.CancelCauseFunc) {
	for _, role := range controlplane.Roles() {
		if child := cp.Process(role); child != nil {
			go func() {
				<-child.Done()
				end(fmt.Errorf("%s ended unexpectedly", role))
			}()
		}
	}
}

// interrupted drops an error that only says that the program was told to end.
func interrupted(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), context.Canceled) && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func parseStart(arguments []string) (startOptions, error) {
	var options startOptions
	flags := flag.NewFlagSet("controlplane start", flag.ContinueOnError)
	flags.StringVar(&options.dir, "dir", "", "folder for the state, kept at the end (default: a temporary one)")
	flags.StringVar(&options.logFile, "log", "", "file that the logs of all roles are appended to (default: none)")
	flags.BoolVar(&options.withoutControllerManager, "without-controller-manager", false,
		"leave kube-controller-manager out: namespaces and owned objects are not cleaned up then")
	flags.IntVar(&options.nodes, "nodes", 0, "nodes for KWOK to play, on which Pods become ready without being run (default: none)")
	flags.Func("route", "where a webhook Service leads, as NAMESPACE/SERVICE:PORT=ADDRESS; can be repeated",
		func(text string) error {
			parsed, err := parseRoute(text)
			options.routes = append(options.routes, parsed)
			return err
		})
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	if flags.NArg() > 0 {
		return options, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return options, nil
}

func parseRoute(text string) (webhookRoute, error) {
	target, address, hasAddress := strings.Cut(text, "=")
	name, portText, hasPort := strings.Cut(target, ":")
	namespace, service, hasService := strings.Cut(name, "/")
	port, err := strconv.ParseUint(portText, 10, 16)
	if !hasAddress || !hasPort || !hasService || err != nil {
		return webhookRoute{}, fmt.Errorf("%q is not NAMESPACE/SERVICE:PORT=ADDRESS", text)
	}
	return webhookRoute{namespace: namespace, service: service, port: int32(port), address: address}, nil
}

// openLog returns where logs go, nil for nowhere, and what closes it.
func openLog(path string) (io.Writer, func() error, error) {
	if path == "" {
		return nil, func() error { return nil }, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	return file, file.Close, nil
}

func progress(line string) { fmt.Fprintln(os.Stderr, line) }
