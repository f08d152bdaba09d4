package policy

import "time"

// Credential is a Secret that a server's tls block asks for.
type Credential struct {
	// Field is where that is written in the server, such as "tls.credentialNames[1]".
	Field string
	// Namespace is the one that is written with the name, as in kubernetes://edge/web. Empty means the workload's.
	Namespace string
	// Name is the Secret's. It is empty where something else is asked for: a certificate of the proxy's own, another server
	// of secrets.
	Name string
}

// Secret is the public part of a Secret that may hold a gateway's certificate. It is never changed once it is made.
type Secret struct {
	Key
	// Sealed says that the values are encrypted, as those in a file may be: nothing is known of them.
	Sealed bool
	// Pair is the certificate with its key, and CA what certificates of clients are checked against.
	Pair, CA Material
}

// Material is the public part of what a Secret holds for TLS.
type Material struct {
	// Absent says that the Secret has no certificate for the purpose at all. Such a Secret is another one's.
	Absent bool
	// Fault says why proxies can do nothing with it, whatever the time; empty when they can. It is set where it is absent, too.
	Fault string
	// NotBefore and NotAfter are when it is valid, for certificates of which one is enough the widest span.
	NotBefore, NotAfter time.Time
	// Names are the DNS names of a certificate, and CommonName is that of one without any.
	Names      []string
	CommonName string
	// Issuer names the intermediate certificate beside it that signed it, and IssuerNotAfter is when that expires: of several the
	// last moment. Both are empty where none is beside it, or one that is signed by itself: such a root clients have themselves.
	Issuer         string
	IssuerNotAfter time.Time
}

// Ref names the Secret.
func (s *Secret) Ref() Ref {
	return Ref{Kind: KindSecret, Key: s.Key}
}

// Relevant says whether the Secret holds anything for TLS. Of others, not even the name need be known.
func (s *Secret) Relevant() bool {
	return s.Sealed || !s.Pair.Absent || !s.CA.Absent
}

// Certificate is a Certificate of cert-manager. It is never changed once it is made.
type Certificate struct {
	Key
	// SecretName is the Secret that cert-manager writes, in the Certificate's namespace.
	SecretName string
	// Names are the DNS names that are asked for. NamesUnknown says that others may be in the subject, which is not read.
	Names        []string
	NamesUnknown bool
	// Ready says that the Secret holds what is asked for, and Since when that last changed.
	Ready bool
	Since time.Time
	// Failed says that the last attempt to issue failed, and Message is what cert-manager says of that or of its readiness.
	Failed  bool
	Message string
	// NotBefore and NotAfter are when what the Secret holds is valid, and Renewal is when it is due to be renewed: zero when
	// it is not to be.
	NotBefore, NotAfter, Renewal time.Time
	// Copied says that the Secret is marked for a tool that copies it to other namespaces.
	Copied bool
}

// Ref names the Certificate.
func (c *Certificate) Ref() Ref {
	return Ref{Kind: KindCertificate, Key: c.Key}
}

const (
	// expiryNotice is how long before the end a certificate that nobody is known to renew is told of: long enough to order
	// one by hand.
	expiryNotice = 14 * 24 * time.Hour
	// expiryShare is the share of a certificate's life before its end in which that is told at the earliest. Whatever renews
	// by itself does so with a third of the life left, as cert-manager and ACME's clients do, and half of that third is given
	// to it; so that certificates of a few days are not told of all their life.
	expiryShare = 6
	// issuingAtMost is how long a Certificate may take to be issued without having failed. cert-manager itself waits an hour
	// before it tries again.
	issuingAtMost = time.Hour
)

// due is when the end of a certificate that nobody is known to renew is told of.
func due(notBefore, notAfter time.Time) time.Time {
	if notAfter.IsZero() {
		return time.Time{}
	}
	return notAfter.Add(-min(expiryNotice, notAfter.Sub(notBefore)/expiryShare))
}

// overdue is when a renewal that has not come is told of: when half of the time that there was for it is gone.
func (c *Certificate) overdue() time.Time {
	if c.Renewal.IsZero() || c.NotAfter.IsZero() {
		return due(c.NotBefore, c.NotAfter)
	}
	return c.Renewal.Add(c.NotAfter.Sub(c.Renewal) / 2)
}

// stuck is when an issuance that does not end is told of.
func (c *Certificate) stuck() time.Time {
	if c.Ready || c.Since.IsZero() {
		return time.Time{}
	}
	return c.Since.Add(issuingAtMost)
}

// reached says whether the moment t is there or past. Without either nothing is.
func reached(now, t time.Time) bool {
	return !now.IsZero() && !t.IsZero() && !now.Before(t)
}

// Moments returns when time alone may change a verdict that depends on the object, in no particular order.
func Moments(o Resource) []time.Time {
	switch o := o.(type) {
	case *Secret:
		return []time.Time{
			o.Pair.NotBefore, due(o.Pair.NotBefore, o.Pair.NotAfter), o.Pair.NotAfter,
			due(o.Pair.NotBefore, o.Pair.IssuerNotAfter), o.Pair.IssuerNotAfter,
			o.CA.NotBefore, due(o.CA.NotBefore, o.CA.NotAfter), o.CA.NotAfter,
		}
	case *Certificate:
		return []time.Time{o.overdue(), o.NotAfter, o.stuck()}
	}
	return nil
}
