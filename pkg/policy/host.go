package policy

import "strings"

// EveryNamespace is the namespace part of a server's host that admits VirtualServices of every namespace.
const EveryNamespace = "*"

// HostName is a fully qualified host name, or a pattern whose first character is "*". It is compared as it is written,
// letter case included, because Istio does so when it matches VirtualServices to Gateways.
type HostName string

// wildcard says whether the name is a pattern. Only the first character counts, as in Istio's host.Name.IsWildCarded.
func (h HostName) wildcard() bool {
	return strings.HasPrefix(string(h), "*")
}

// Overlaps says whether some host is covered by both names: Istio's host.Name.Matches. It is symmetric.
//
//	"a.example.com" overlaps "a.example.com", "*.example.com" and "*"
//	"*.example.com" overlaps "*.a.example.com", but not "example.com"
func (h HostName) Overlaps(o HostName) bool {
	switch {
	case h.wildcard() && o.wildcard():
		return strings.HasSuffix(string(h[1:]), string(o[1:])) || strings.HasSuffix(string(o[1:]), string(h[1:]))
	case h.wildcard():
		return strings.HasSuffix(string(o), string(h[1:]))
	case o.wildcard():
		return strings.HasSuffix(string(h), string(o[1:]))
	}
	return h == o
}

// within says whether every host that h covers is covered by o: Istio's host.Name.SubsetOf.
func (h HostName) within(o HostName) bool {
	switch {
	case !o.wildcard():
		return h == o
	case h.wildcard():
		return len(h) >= len(o) && strings.HasSuffix(string(h[1:]), string(o[1:]))
	}
	return strings.HasSuffix(string(h), string(o[1:]))
}

// ServerHost is one entry of a server's hosts with its parts told apart: which host, and whose VirtualServices may use it.
type ServerHost struct {
	// Namespace is the namespace whose VirtualServices may bind to the host, or EveryNamespace.
	Namespace string
	Name      HostName
}

// String writes the host as a server's hosts spell it, with "*/" left out.
func (s ServerHost) String() string {
	if s.Namespace == EveryNamespace {
		return string(s.Name)
	}
	return s.Namespace + "/" + string(s.Name)
}

// admits says whether a VirtualService of the namespace may bind to the host: Istio's host.NamesForNamespace.
func (s ServerHost) admits(namespace string) bool {
	return s.Namespace == EveryNamespace || s.Namespace == namespace
}
