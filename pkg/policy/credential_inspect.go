package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// inspection looks for the certificates of one server where the workloads of one namespace would get them.
type inspection struct {
	mesh    Mesh
	gateway *Gateway
	server  int
	at      site
	found   []Finding
}

func newInspection(m Mesh, g *Gateway, server int, at site) *inspection {
	return &inspection{mesh: m, gateway: g, server: server, at: at}
}

// cause is what is wrong in a word: a certificate that is about to expire and then does so has two findings.
type cause string

// The causes.
const (
	inOrder    cause = ""
	missing    cause = "missing"
	misplaced  cause = "misplaced"
	broken     cause = "broken"
	failing    cause = "failing"
	expired    cause = "expired"
	severed    cause = "severed"
	expiring   cause = "expiring"
	notYet     cause = "not yet valid"
	unfinished cause = "unfinished"
	namesOther cause = "other names"
	withoutCA  cause = "without CA"
)

// report adds a finding. The refs are what it rests on besides the workloads.
func (i *inspection) report(asked Credential, why cause, text string, refs ...Ref) {
	f := Finding{
		Path: fmt.Sprintf("spec.servers[%d].%s", i.server, asked.Field), Message: text,
		Host: asked.Name + " " + string(why), Gateway: i.gateway.String(),
	}
	f.Related = append(f.Related, refs...)
	f.Related = append(f.Related, workloadRefsOf(i.at.workloads)...)
	i.found = append(i.found, f)
}

// findings judges the server's certificates one by one, then their names together, as proxies choose the one that fits, and
// then the CA.
func (i *inspection) findings() []Finding {
	s := &i.gateway.Servers[i.server]
	offered := offer{}
	for _, asked := range s.Credentials {
		offered.add(i.pair(asked))
	}
	if left := uncovered(s.named(), offered.names); offered.known() && len(left) > 0 {
		first := s.Credentials[0]
		first.Name += " " + listed(left)
		i.report(first, namesOther, fmt.Sprintf("%s, and that does not cover %s", offered.text(), listed(left)), offered.from...)
	}
	if s.checksClients() {
		i.ca(s)
	}
	return i.found
}

// offer is what certificates are for.
type offer struct {
	names, commonNames []string
	from               []Ref
	unknown            bool
}

// add takes in the names of one certificate, unless they are not known.
func (o *offer) add(names Material, from Ref, known bool) {
	if !known {
		o.unknown = true
		return
	}
	o.names, o.from = append(o.names, names.Names...), append(o.from, from)
	if names.CommonName != "" {
		o.commonNames = append(o.commonNames, names.CommonName)
	}
}

func (o *offer) known() bool {
	return !o.unknown
}

func (o *offer) text() string {
	from := make([]string, 0, len(o.from))
	for _, r := range o.from {
		from = append(from, r.String())
	}
	text := fmt.Sprintf("%s is for %s", strings.Join(from, " and "), listed(o.names))
	if len(o.names) == 0 {
		text = strings.Join(from, " and ") + " has no DNS name"
	}
	if len(o.commonNames) > 0 {
		text += fmt.Sprintf(" (browsers do not look at the common name %s)", listed(o.commonNames))
	}
	return text
}

// pair reports what is wrong with one certificate, and returns what has the names that it is for and who says so; known is false
// where nobody does.
func (i *inspection) pair(asked Credential) (names Material, from Ref, known bool) {
	if asked.Name == "" {
		return names, from, false
	}
	if asked.Namespace != "" && asked.Namespace != i.at.namespace {
		i.report(asked, misplaced, fmt.Sprintf("Secret %s/%s is asked for, but Istio gives proxies Secrets of their own namespace only: "+
			"this one would have to be in namespace %s, %s", asked.Namespace, asked.Name, i.at.namespace, i.at.because()))
		return names, from, false
	}
	key := Key{Namespace: i.at.namespace, Name: asked.Name}
	if c := i.writer(key); c != nil {
		if why, text := c.trouble(i.mesh.Now()); why != inOrder {
			i.report(asked, why, text, c.Ref())
		}
		return Material{Names: c.Names}, c.Ref(), !c.NamesUnknown
	}
	secret, ok := i.mesh.Secret(key)
	switch {
	case !ok:
		i.missing(asked)
		return names, from, false
	case secret.Sealed:
		return names, from, false
	}
	why, text := secret.Pair.trouble(i.mesh.Now())
	if why != inOrder {
		i.report(asked, why, fmt.Sprintf("Secret %s %s", key, text), secret.Ref())
	}
	return secret.Pair, secret.Ref(), secret.Pair.Fault == ""
}

// writer is the Certificate that writes the Secret: of several the one that is ready, or else the first one.
func (i *inspection) writer(secret Key) *Certificate {
	var first *Certificate
	for c := range i.mesh.CertificatesWriting(secret.Name) {
		if c.Namespace == secret.Namespace && (first == nil || c.Ready && !first.Ready) {
			first = c
		}
	}
	return first
}

// missing reports a Secret that is not there and that nobody is to write. Where not all Secrets are known, only one that is
// in another namespace is reported, and not if it is copied from there.
func (i *inspection) missing(asked Credential) {
	key := Key{Namespace: i.at.namespace, Name: asked.Name}
	others, hint, copied := i.elsewhere(asked.Name)
	// A Certificate that was made a moment ago most likely has the name of its Secret.
	grounds := []Ref{{KindCertificate, key}}
	switch {
	case i.mesh.SecretsKnown(key.Namespace):
		text := fmt.Sprintf("there is no Secret %s, and Istio looks for it in that namespace, %s", key, i.at.because())
		if hint != "" {
			text += ": " + hint
		}
		i.report(asked, missing, text, slices.Concat([]Ref{{KindSecret, key}}, grounds, others)...)
	case hint != "" && !copied:
		text := fmt.Sprintf("%s, but Istio looks for it in namespace %s, %s", hint, key.Namespace, i.at.because())
		i.report(asked, missing, text, append(grounds, others...)...)
	}
}

// elsewhereAtMost is how many objects in other namespaces a finding rests on.
const elsewhereAtMost = 3

// elsewhere returns what has or writes a Secret of the name in other namespaces, what to say of that, and whether the Secret
// is copied from there.
func (i *inspection) elsewhere(name string) (others []Ref, hint string, copied bool) {
	for c := range i.mesh.CertificatesWriting(name) {
		if c.Namespace != i.at.namespace && i.meant(c.Namespace, c.Names) {
			others = append(others, c.Ref())
			copied = copied || c.Copied
			hint = cmp.Or(hint, fmt.Sprintf("%s writes Secret %s to namespace %s", c.Ref(), name, c.Namespace))
		}
	}
	for s := range i.mesh.SecretsNamed(name) {
		if s.Namespace != i.at.namespace && i.meant(s.Namespace, s.Pair.subjects()) {
			others = append(others, s.Ref())
			hint = cmp.Or(hint, fmt.Sprintf("Secret %s is in namespace %s", name, s.Namespace))
		}
	}
	return others[:min(len(others), elsewhereAtMost)], hint, copied
}

// meant says whether a certificate in a namespace that is not known to be the workload's is the one that the server asks for, and
// does not just have the name in common, such as "tls": it is in the Gateway's namespace, or covers one of the hosts.
func (i *inspection) meant(namespace string, names []string) bool {
	hosts := i.gateway.Servers[i.server].named()
	return namespace == i.gateway.Namespace || len(uncovered(hosts, names)) < len(hosts)
}

// trouble says what is wrong with the Certificate.
func (c *Certificate) trouble(now time.Time) (cause, string) {
	switch {
	case reached(now, c.NotAfter):
		return expired, fmt.Sprintf("what %s has written expired on %s%s", c.Ref(), date(c.NotAfter), c.says())
	case c.Failed && !c.Ready:
		return failing, fmt.Sprintf("%s is not issued%s", c.Ref(), c.says())
	case reached(now, c.overdue()) && c.Renewal.IsZero():
		return expiring, fmt.Sprintf("what %s has written expires on %s, and no renewal is scheduled%s", c.Ref(), date(c.NotAfter), c.says())
	case reached(now, c.overdue()):
		return expiring, fmt.Sprintf("what %s has written expires on %s, and its renewal is due since %s%s",
			c.Ref(), date(c.NotAfter), date(c.Renewal), c.says())
	case reached(now, c.stuck()):
		return unfinished, fmt.Sprintf("%s is not ready since %s%s", c.Ref(), date(c.Since), c.says())
	}
	return inOrder, ""
}

// says quotes cert-manager, where that has not just good news.
func (c *Certificate) says() string {
	if c.Message == "" || c.Ready && !c.Failed {
		return ""
	}
	return ": cert-manager says " + fmt.Sprintf("%q", c.Message)
}

// trouble says what is wrong with a certificate that nobody is known to renew, as the end of a sentence about its Secret.
func (x Material) trouble(now time.Time) (cause, string) {
	switch {
	case x.Absent:
		return missing, x.Fault
	case x.Fault != "":
		return broken, "cannot be used: " + x.Fault
	case reached(now, x.NotAfter):
		return expired, "holds a certificate that expired on " + date(x.NotAfter)
	case !now.IsZero() && now.Before(x.NotBefore):
		return notYet, "holds a certificate that is not valid before " + date(x.NotBefore)
	case reached(now, x.IssuerNotAfter):
		return severed, fmt.Sprintf("holds a certificate whose issuer, the intermediate certificate %s beside it, expired on %s", x.Issuer, date(x.IssuerNotAfter))
	case x.IssuerNotAfter.Before(x.NotAfter) && reached(now, due(x.NotBefore, x.IssuerNotAfter)):
		return expiring, fmt.Sprintf("holds a certificate whose issuer, the intermediate certificate %s beside it, expires on %s, "+
			"and no Certificate is known that renews it", x.Issuer, date(x.IssuerNotAfter))
	case reached(now, due(x.NotBefore, x.NotAfter)):
		return expiring, fmt.Sprintf("holds a certificate that expires on %s, and no Certificate is known that renews it", date(x.NotAfter))
	}
	return inOrder, ""
}

// subjects returns all names by which somebody may know the certificate.
func (x Material) subjects() []string {
	if x.CommonName == "" {
		return x.Names
	}
	return append(slices.Clone(x.Names), x.CommonName)
}

// date writes a moment for people.
func date(t time.Time) string {
	return t.UTC().Format("2006-01-02 15:04 MST")
}

// listed writes the first of the names, each once.
func listed(names []string) string {
	const shown = 5
	var distinct []string
	for _, n := range names {
		if !slices.Contains(distinct, n) {
			distinct = append(distinct, n)
		}
	}
	text := strings.Join(distinct[:min(len(distinct), shown)], ", ")
	if more := len(distinct) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
