// Package chart tests charts/meshwarden with Helm's own library, without a cluster: it passes Helm's linter, installs what
// the manifests install, and refuses values that cannot be meant. The suite installs it on a control plane.
package chart
