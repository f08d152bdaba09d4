package conformance

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/labels"
)

// How the binds of two servers compare. An empty bind and 0.0.0.0 are two for Istio's merge, and one listener.
const (
	bindSame  = "same bind"
	bindOther = "other bind"
	bindEvery = "0.0.0.0"
)

// How the selectors of two Gateways compare.
const (
	selectorEqual     = "equal"
	selectorSubset    = "subset"
	selectorUnrelated = "unrelated"
)

// What becomes of two servers.
const (
	verdictClean     = "clean"
	verdictDropped   = "dropped"
	verdictDuplicate = "duplicate"
)

// NewConflictCoverage returns the table of the conflict cases. It counts those of two Gateways with one server each, of one
// port.
func NewConflictCoverage() *Coverage {
	return NewCoverage(impossibleConflict, append(conflictStrata(), Dimension{"verdict", []string{verdictClean, verdictDropped, verdictDuplicate}})...)
}

func conflictStrata() []Dimension {
	return []Dimension{
		{"older server", conflictKinds()},
		{"younger server", conflictKinds()},
		{"selectors", []string{selectorEqual, selectorSubset, selectorUnrelated}},
		{"bind", []string{bindSame, bindEvery, bindOther}},
	}
}

// impossibleConflict says why no case can be in the cell.
func impossibleConflict(cell []string) string {
	older, younger, bind, verdict := cell[0], cell[1], cell[3], cell[4]
	plainHTTP := func(kind string) bool { return kind == kindHTTP || kind == kindRedirect }
	plain := func(kind string) bool { return plainHTTP(kind) || kind == kindTCP }
	switch {
	case verdict == verdictClean:
		return ""
	case bind == bindOther:
		return "servers of two addresses have nothing in common"
	case verdict == verdictDropped && bind != bindSame:
		return "the merge compares binds as they are written"
	case verdict == verdictDropped && plainHTTP(older) && plainHTTP(younger) && (older == kindHTTP || younger == kindHTTP):
		return "plain HTTP servers merge"
	case verdict == verdictDropped && !plain(older) && (younger == kindHTTP || younger == kindTCP):
		return "the merge takes a server without TLS beside one with it"
	case verdict == verdictDropped:
		return ""
	case (older == kindAutoPassthrough) != (younger == kindAutoPassthrough):
		return "only auto-passthrough has filter chains for Istio's own protocols"
	case bind == bindSame && plain(older):
		return "what the merge takes after a server without TLS shares its filter chain"
	case bind == bindSame && older == kindPassthrough && younger == kindPassthrough:
		return "of two routes with one SNI behind one bind, only the first gets a filter chain"
	}
	return ""
}

// stratum draws a case of the cell of that number.
func (d *conflictDraw) stratum(number int) {
	cell := cellOf(number)
	d.close = d.chance(85)
	// Where the merge drops the one server for sure, it takes scoped Gateways to keep the two apart.
	d.world.Settings.ScopeGateways = cell[2] != selectorUnrelated && d.chance(38)
	d.numbers = oneOf(d.draw, []uint32{443}, []uint32{80}, []uint32{8443})
	names := d.names()
	for i := range 2 {
		namespace := d.namespace()
		if i == 1 && namespace != d.world.Gateways[0].Namespace && d.chance(20) {
			names[1] = names[0]
		}
		d.world.Gateways = append(d.world.Gateways, NewGateway(namespace, names[i], d.age()))
	}
	slices.SortFunc(d.world.Gateways, byAge)
	binds, selectors := d.twoBinds(cell[3]), d.twoSelectors(cell[2])
	for i, g := range d.world.Gateways {
		server := d.server(cell[i], d.numbers[0], binds[i])
		d.name(server, i, 0)
		g.Spec.Selector, g.Spec.Servers = selectors[i], []*networking.Server{server}
	}
	d.approach(d.world.Gateways[0].Spec.Servers[0], d.world.Gateways[1].Spec.Servers[0])
	d.workloads(map[string]int{selectorEqual: 50, selectorSubset: 50, selectorUnrelated: 15}[cell[2]])
}

// cellOf returns the cell that is next. Those in which more can happen come more often.
func cellOf(number int) []string {
	often := map[string]int{bindSame: 3, bindEvery: 3, bindOther: 1}
	var cells [][]string
	for _, cell := range combinations(conflictStrata()) {
		for range often[cell[3]] {
			cells = append(cells, cell)
		}
	}
	return cells[number%len(cells)]
}

// byAge is Istio's order.
func byAge(a, b *Gateway) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace))
}

func (d *conflictDraw) twoBinds(how string) []string {
	binds := []string{"", "0.0.0.0"}
	switch how {
	case bindSame:
		one := oneOf(d.draw, "", "", "0.0.0.0", "10.0.0.1")
		return []string{one, one}
	case bindOther:
		binds = []string{oneOf(d.draw, "", "0.0.0.0", "10.0.0.2"), "10.0.0.1"}
	}
	if d.chance(50) {
		slices.Reverse(binds)
	}
	return binds
}

func (d *conflictDraw) twoSelectors(how string) []map[string]string {
	var selectors []map[string]string
	switch how {
	case selectorEqual:
		one := oneOf(d.draw, d.labels("app"), d.labels("app"), d.labels("app"), d.labels("app", "tier"), d.labels("tier"))
		if d.chance(5) {
			one = nil
		}
		return []map[string]string{one, one}
	case selectorSubset:
		selectors = []map[string]string{d.labels("app"), d.labels("app", "tier")}
		if d.chance(10) {
			selectors[0] = nil
		}
	default:
		selectors = []map[string]string{d.labels("app"), d.labels("tier")}
	}
	if d.chance(50) {
		slices.Reverse(selectors)
	}
	return selectors
}

// approach often has the two servers come close: with one host, as it is or with another permission, or with every host.
func (d *conflictDraw) approach(first, second *networking.Server) {
	host := first.Hosts[d.IntN(len(first.Hosts))]
	switch d.IntN(8) {
	case 0:
		second.Hosts[0] = host
	case 1, 2:
		second.Hosts[0] = d.permission() + host[strings.LastIndex(host, "/")+1:]
	case 3, 4, 5, 6:
		first.Hosts[0], second.Hosts[0] = d.permission()+"*", d.permission()+"*"
		if first.Hosts[0] == "*/*" || second.Hosts[0] == "*/*" {
			first.Hosts, second.Hosts = first.Hosts[:1], second.Hosts[:1]
		}
	}
}

// Cover counts the case, if the table speaks of such.
func (c *ConflictCase) Cover(t *ConflictTruth, table *Coverage) error {
	gateways := slices.SortedFunc(slices.Values(c.World.Gateways), byAge)
	if len(gateways) != 2 || len(t.Fails) > 0 || len(gateways[0].Spec.Servers) != 1 || len(gateways[1].Spec.Servers) != 1 {
		return nil
	}
	older, younger := gateways[0].Spec.Servers[0], gateways[1].Spec.Servers[0]
	first, second := conflictKind(older), conflictKind(younger)
	if first == kindOdd || second == kindOdd || older.Port.Number != younger.Port.Number {
		return nil
	}
	verdict := verdictClean
	for l := range t.With {
		verdict = verdictDuplicate
		if l.Dropped != "" {
			verdict = verdictDropped
		}
	}
	return table.Count(first, second, selectorsForm(gateways[0].Spec.Selector, gateways[1].Spec.Selector), bindsForm(older.Bind, younger.Bind), verdict)
}

// conflictKind tells which kind a server is of, as far as it matters to what it may meet.
func conflictKind(s *networking.Server) string {
	switch kind := kindOfServer(s); kind {
	case kindSimple, kindMutual:
		return kindHTTPS
	case kindHTTPSPassthrough, kindTLSPassthrough:
		return kindPassthrough
	case kindOdd:
		switch {
		case s.Tls == nil && slices.Contains([]string{"MONGO", "REDIS", "MYSQL"}, s.Port.Protocol):
			return kindTCP
		case strings.EqualFold(s.Port.Protocol, "HTTPS") && s.Tls != nil:
			return kindHTTPS
		}
		return kind
	default:
		return kind
	}
}

func selectorsForm(a, b labels.Instance) string {
	switch {
	case maps.Equal(a, b):
		return selectorEqual
	case a.SubsetOf(b), b.SubsetOf(a):
		return selectorSubset
	}
	return selectorUnrelated
}

func bindsForm(a, b string) string {
	every := []string{"", "0.0.0.0"}
	switch {
	case a == b:
		return bindSame
	case slices.Contains(every, a) && slices.Contains(every, b):
		return bindEvery
	}
	return bindOther
}
