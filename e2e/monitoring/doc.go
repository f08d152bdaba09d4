// Package monitoring tests manifests/monitoring with Prometheus' own parser and engine: each alert fires when it should and
// not otherwise, and alerts and dashboard ask for metrics that Meshwarden and its operator have.
package monitoring
