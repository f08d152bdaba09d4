package policy

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// hostIndex finds the entries of a Gateway's servers that overlap a host, without reading every entry. A Gateway may
// carry thousands of hosts and as many VirtualServices may be judged against it when it changes.
type hostIndex struct {
	entries []ServerHost
	// servers are the positions of the servers that the entries are of.
	servers []int
	// exact holds the entries that are no pattern, by name.
	exact map[HostName][]int
	// patterns holds the entries that are one, by what follows the "*"; lengths are the lengths of these suffixes.
	patterns map[string][]int
	lengths  []int
	// backwards holds every entry ordered by its name or suffix read from the end, so that the entries that end alike
	// stand together.
	backwards []backwardsEntry
}

type backwardsEntry struct {
	text  string
	entry int
}

func newHostIndex(servers []Server) hostIndex {
	ix := hostIndex{exact: map[HostName][]int{}, patterns: map[string][]int{}}
	for i, s := range servers {
		for _, h := range s.Hosts {
			ix.add(h, i)
		}
	}
	slices.SortFunc(ix.backwards, func(a, b backwardsEntry) int {
		return cmp.Or(cmp.Compare(a.text, b.text), cmp.Compare(a.entry, b.entry))
	})
	return ix
}

func (ix *hostIndex) add(h ServerHost, server int) {
	n := len(ix.entries)
	ix.entries = append(ix.entries, h)
	ix.servers = append(ix.servers, server)
	if !h.Name.wildcard() {
		ix.exact[h.Name] = append(ix.exact[h.Name], n)
		ix.backwards = append(ix.backwards, backwardsEntry{text: backwards(string(h.Name)), entry: n})
		return
	}
	suffix := string(h.Name[1:])
	ix.patterns[suffix] = append(ix.patterns[suffix], n)
	ix.backwards = append(ix.backwards, backwardsEntry{text: backwards(suffix), entry: n})
	if !slices.Contains(ix.lengths, len(suffix)) {
		ix.lengths = append(ix.lengths, len(suffix))
	}
}

// carrying yields the positions of the servers with an entry that overlaps the host and admits the namespace. A server
// may come more than once.
func (ix *hostIndex) carrying(host HostName, namespace string) iter.Seq[int] {
	return func(yield func(int) bool) {
		admitted := func(entry int) bool {
			return !ix.entries[entry].admits(namespace) || yield(ix.servers[entry])
		}
		if !host.wildcard() {
			_ = ix.exactly(host, admitted) && ix.patternsOver(string(host), admitted)
			return
		}
		suffix := string(host[1:])
		_ = ix.patternsOver(suffix, admitted) && ix.endingIn(suffix, admitted)
	}
}

func (ix *hostIndex) exactly(host HostName, yield func(entry int) bool) bool {
	for _, n := range ix.exact[host] {
		if !yield(n) {
			return false
		}
	}
	return true
}

// patternsOver yields the patterns whose suffix is the end of the text.
func (ix *hostIndex) patternsOver(text string, yield func(entry int) bool) bool {
	for _, n := range ix.lengths {
		if n > len(text) {
			continue
		}
		for _, entry := range ix.patterns[text[len(text)-n:]] {
			if !yield(entry) {
				return false
			}
		}
	}
	return true
}

// endingIn yields the entries, patterns or not, that end with the text.
func (ix *hostIndex) endingIn(text string, yield func(entry int) bool) bool {
	start := backwards(text)
	first, _ := slices.BinarySearchFunc(ix.backwards, start, func(e backwardsEntry, s string) int { return cmp.Compare(e.text, s) })
	for _, e := range ix.backwards[first:] {
		if !strings.HasPrefix(e.text, start) {
			return true
		}
		if !yield(e.entry) {
			return false
		}
	}
	return true
}

// backwards returns the bytes of the text in the opposite order.
func backwards(text string) string {
	b := []byte(text)
	slices.Reverse(b)
	return string(b)
}

// nearMiss returns an entry that would carry the host but for its namespace part or for letter case, and which of the
// two it is. It reads every entry and is meant for messages.
func (ix *hostIndex) nearMiss(host HostName, namespace string) (entry ServerHost, otherCase, found bool) {
	for _, e := range ix.entries {
		if e.Name.Overlaps(host) && !e.admits(namespace) {
			return e, false, true
		}
	}
	lower := HostName(strings.ToLower(string(host)))
	for _, e := range ix.entries {
		if e.admits(namespace) && HostName(strings.ToLower(string(e.Name))).Overlaps(lower) {
			return e, true, true
		}
	}
	return ServerHost{}, false, false
}
