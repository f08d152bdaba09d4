package serve

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestQuiet(t *testing.T) {
	for _, tc := range []struct {
		reason, logger, message string
		want                    int
	}{
		{"a failing check without its reason", "controller-runtime.healthz", "healthz check failed", 0},
		{"a connection that only asked whether the port is open", "", "http: TLS handshake error from 10.0.0.1:41922: EOF", 0},
		{"a client that does not trust the certificate", "", "http: TLS handshake error from 10.0.0.1:41922: remote error: tls: bad certificate", 1},
		{"anything else", "admission", "request denied", 1},
	} {
		core, logs := observer.New(zapcore.InfoLevel)
		zap.New(newQuiet(core)).With(zap.Int("n", 1)).Named(tc.logger).Info(tc.message)
		if logs.Len() != tc.want {
			t.Errorf("%s: %d lines, want %d", tc.reason, logs.Len(), tc.want)
		}
	}
}
