// Package admission answers admission requests: it decodes what the API server sends, has it judged by pkg/policy, and
// words the answer. It holds no rules.
package admission
