package policy

import (
	"cmp"
	"slices"
	"strings"
)

// hostIndex finds the entries of a Gateway's servers that overlap a host, without reading every entry. A Gateway may
// carry thousands of hosts and as many VirtualServices may be judged against it when it changes.
type hostIndex struct {
	entries []ServerHost
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
	for _, s := range servers {
		for _, h := range s.Hosts {
			ix.add(h)
		}
	}
	slices.SortFunc(ix.backwards, func(a, b backwardsEntry) int {
		return cmp.Or(cmp.Compare(a.text, b.text), cmp.Compare(a.entry, b.entry))
	})
	return ix
}

func (ix *hostIndex) add(h ServerHost) {
	n := len(ix.entries)
	ix.entries = append(ix.entries, h)
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

// carries says whether some entry overlaps the host and admits the namespace.
func (ix hostIndex) carries(host HostName, namespace string) bool {
	if !host.wildcard() {
		return ix.admitsAny(ix.exact[host], namespace) || ix.patternCarries(string(host), namespace)
	}
	suffix := string(host[1:])
	return ix.patternCarries(suffix, namespace) || ix.endsWith(suffix, namespace)
}

// patternCarries says whether the suffix of some pattern is the end of the text.
func (ix hostIndex) patternCarries(text, namespace string) bool {
	for _, n := range ix.lengths {
		if n <= len(text) && ix.admitsAny(ix.patterns[text[len(text)-n:]], namespace) {
			return true
		}
	}
	return false
}

// endsWith says whether some entry, pattern or not, ends with the text.
func (ix hostIndex) endsWith(text, namespace string) bool {
	start := backwards(text)
	first, _ := slices.BinarySearchFunc(ix.backwards, start, func(e backwardsEntry, s string) int { return cmp.Compare(e.text, s) })
	for _, e := range ix.backwards[first:] {
		if !strings.HasPrefix(e.text, start) {
			return false
		}
		if ix.entries[e.entry].admits(namespace) {
			return true
		}
	}
	return false
}

// backwards returns the bytes of the text in the opposite order.
func backwards(text string) string {
	b := []byte(text)
	slices.Reverse(b)
	return string(b)
}

func (ix hostIndex) admitsAny(entries []int, namespace string) bool {
	return slices.ContainsFunc(entries, func(n int) bool { return ix.entries[n].admits(namespace) })
}

// nearMiss returns an entry that would carry the host but for its namespace part or for letter case, and which of the
// two it is. It reads every entry and is meant for messages.
func (ix hostIndex) nearMiss(host HostName, namespace string) (entry ServerHost, otherCase, found bool) {
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
