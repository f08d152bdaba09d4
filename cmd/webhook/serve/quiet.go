package serve

import (
	"strings"

	"go.uber.org/zap/zapcore"
)

// quiet leaves out of a log what is said of every probe and says nothing: controller-runtime's lines about failing checks,
// which withhold the reason (readiness tells it, once), and the standard library's about a connection that was closed before
// its handshake, as by a check that the port is open.
type quiet struct{ zapcore.Core }

func newQuiet(next zapcore.Core) zapcore.Core { return quiet{next} }

// With implements zapcore.Core.
func (q quiet) With(fields []zapcore.Field) zapcore.Core { return quiet{q.Core.With(fields)} }

// Check implements zapcore.Core.
func (q quiet) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	probe := strings.HasPrefix(e.Message, "http: TLS handshake error from ") && strings.HasSuffix(e.Message, ": EOF")
	if probe || e.LoggerName == "controller-runtime.healthz" {
		return to
	}
	return q.Core.Check(e, to)
}
