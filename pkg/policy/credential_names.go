package policy

import (
	"net/netip"
	"slices"
	"strings"
)

// named returns the hosts that clients of the server ask for by SNI and that a certificate can name, each once. Nobody can
// issue one for "*", and clients ask for no IP address by SNI.
func (s *Server) named() []HostName {
	var hosts []HostName
	seen := map[HostName]bool{}
	for _, h := range s.sniHosts() {
		_, err := netip.ParseAddr(string(h))
		nameable := !h.wildcard() || strings.HasPrefix(string(h), "*.")
		if h != "" && err != nil && nameable && !seen[h] {
			hosts = append(hosts, h)
		}
		seen[h] = true
	}
	return hosts
}

// uncovered returns the hosts that none of a certificate's names covers.
func uncovered(hosts []HostName, names []string) []string {
	var missing []string
	for _, h := range hosts {
		if !slices.ContainsFunc(names, func(name string) bool { return covers(name, string(h)) }) {
			missing = append(missing, string(h))
		}
	}
	return missing
}

// covers says whether clients take a certificate of the name for the host (RFC 6125, 6.4.3): a wildcard stands for one label,
// and it alone covers the host that is the same wildcard. Letter case does not count.
func covers(name, host string) bool {
	if strings.EqualFold(name, host) {
		return true
	}
	first, rest, _ := strings.Cut(host, ".")
	parent, wild := strings.CutPrefix(name, "*.")
	return wild && first != "" && first != "*" && strings.EqualFold(parent, rest)
}
