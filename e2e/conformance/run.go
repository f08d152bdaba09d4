package conformance

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// Run says how long the suite runs, and on what.
type Run struct {
	Seed  uint64
	Cases int
	// Out takes the report.
	Out io.Writer
	// Failures is the folder for the fixtures of the cases on which the rules and Istio disagree.
	Failures string
	// Enough is the number of disagreements after which the run ends: each one is shrunk, which takes a while.
	Enough int
}

// chunk is how many cases are made up at a time. Each has a token of its own.
const chunk = 2000

// progressEvery is how often a long run says how far it is.
const progressEvery = 10 * time.Second

// inParallel calls f for 0 to n-1 on all processors and returns the first error.
func inParallel(n int, f func(i int) error) error {
	faults := make([]error, n)
	var group sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for worker := range workers {
		group.Go(func() {
			for i := worker; i < n; i += workers {
				faults[i] = f(i)
			}
		})
	}
	group.Wait()
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return nil
}

// DefaultFailures is where fixtures of disagreements go when nobody says.
func DefaultFailures() string {
	return filepath.Join(os.TempDir(), "meshwarden-conformance")
}
