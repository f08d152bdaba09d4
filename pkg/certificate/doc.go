// Package certificate keeps the serving certificate of the webhooks, where nobody else does: it makes a certificate
// authority (CA) and a serving certificate, replaces both in time, and has the webhook configurations trust them.
//
// All replicas agree through one Secret. What is to be done next follows from the Secret, the webhook configurations and
// the time (Next, a pure function); each write is tied to the version that it was decided on, so it does not matter
// which replica writes, or how many try. No replica is restarted, and none reads files.
//
// A CA is replaced in steps, each of them a state of the Secret:
//
//	ca.crt  tls.crt  meanwhile
//	{A}     A's      the state of rest
//	{A, B}  A's      the webhook configurations come to trust B
//	{A, B}  B's      the replicas load the new certificate, once B has been trusted for Terms.Overlap
//	{B}     B's      the state of rest, once nobody has served a certificate of A for Terms.Overlap
//
// So whoever is one step behind, a replica with its certificate or an API server with its caBundle, is understood by all
// the others.
//
// The package also says when a certificate is about to expire, whoever made it.
package certificate
