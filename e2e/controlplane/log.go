package controlplane

import (
	"io"
	"sync"
)

// lockedWriter lets several processes share a log that need not be safe for that.
type lockedWriter struct {
	mu   sync.Mutex
	next io.Writer
}

func (w *lockedWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next.Write(line)
}

// prefixWriter says at the beginning of each line whose it is. It gets one line a
// call, as process.Config promises.
type prefixWriter struct {
	prefix string
	next   io.Writer
}

func (w *prefixWriter) Write(line []byte) (int, error) {
	if _, err := w.next.Write(append([]byte(w.prefix), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
