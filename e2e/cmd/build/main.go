// Command build builds the programs of this repository by name into bin/, and shows how far it is: the first build of a
// Kubernetes API server takes minutes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/meshwarden/meshwarden/e2e/binary"
)

// step is how many compiled packages a line of progress stands for.
const step = 100

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(names []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, name := range names {
		if err := build(ctx, binary.Binary(name)); err != nil {
			return err
		}
	}
	return nil
}

func build(ctx context.Context, program binary.Binary) error {
	start := time.Now()
	announced := false
	_, err := binary.Build(ctx, program, func(compiled int) {
		if !announced {
			announced = true
			fmt.Printf("Building %s ...%s\n", program, hint(program))
		}
		if compiled%step == 0 {
			fmt.Printf("  %4d packages compiled, %s\n", compiled, time.Since(start).Round(time.Second))
		}
	})
	if err == nil && announced {
		fmt.Printf("  done after %s\n", time.Since(start).Round(time.Second))
	}
	return err
}

// hint says what to expect of a long build.
func hint(program binary.Binary) string {
	switch program {
	case binary.ControlPlane:
		return " (some 2,500 packages, the first time: 7 minutes on two cores)"
	case binary.ControlPlaneWithoutControllerManager:
		return " (some 2,200 packages, the first time: 5 minutes on two cores)"
	case binary.Installer, binary.PilotDiscovery:
		return " (Istio and, the first time, what it is made of: 2 minutes on two cores)"
	}
	return ""
}
