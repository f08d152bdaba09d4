// Package onboarding keeps namespaces onboarded: it gives label and mark to those
// that the admission webhook missed, and every namespace under care its
// NetworkPolicy, which it repairs when it drifts and removes when it is not
// wanted any more.
//
// The controller is level-triggered: what it does follows from the present state
// of one namespace alone, and each write is either an apply or tied to the
// version it was decided on. So it may stop and start at any point, and two
// replicas that write at once do no harm. The decisions are pure functions of
// package policy; this package reads, asks, and writes.
package onboarding
