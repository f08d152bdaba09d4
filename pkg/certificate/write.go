package certificate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// FieldManager is the owner of the Secret's fields and of every caBundle.
const FieldManager = "meshwarden-certificate"

// absentVersion is a resourceVersion that no stored object has: an apply with it creates the object, or is refused as a
// conflict where there is one. RBAC can narrow an apply to one name, unlike a create.
const absentVersion = "1"

// write stores the step, on top of exactly the Secret that it was decided on.
func (k *keeper) write(ctx context.Context, have *corev1.Secret, step Step) error {
	want := have.DeepCopy()
	data, err := step.State.Data()
	if err != nil {
		return err
	}
	if want.Data == nil {
		want.Data = map[string][]byte{}
	}
	for key, value := range data {
		want.Data[key] = value
	}
	for key, value := range step.State.Annotations() {
		annotate(want, key, value)
	}
	if step.Begun {
		annotate(want, RenewAnnotation, "")
	}
	if have.ResourceVersion == "" {
		err = k.create(ctx, want)
	} else {
		err = k.client.Patch(ctx, want, client.MergeFromWithOptions(have, client.MergeFromWithOptimisticLock{}), client.FieldOwner(FieldManager))
	}
	if err != nil {
		return fmt.Errorf("writing secret %s: %w", k.options.Secret, err)
	}
	k.tell(ctx, step)
	return nil
}

func annotate(secret *corev1.Secret, key, value string) {
	if value == "" {
		delete(secret.Annotations, key)
		return
	}
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[key] = value
}

// create makes the Secret, provided that it is still absent.
func (k *keeper) create(ctx context.Context, want *corev1.Secret) error {
	want.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	want.Namespace, want.Name = k.options.Secret.Namespace, k.options.Secret.Name
	want.ResourceVersion = absentVersion
	want.Labels = map[string]string{ownLabel: ownLabelValue}
	want.Type = corev1.SecretTypeTLS // as cert-manager's: whoever changes over need not delete it
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(want)
	if err != nil {
		return fmt.Errorf("encoding it: %w", err)
	}
	return k.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: fields}), client.FieldOwner(FieldManager))
}

// tell says what was done: every step in the log, and what people should know as an Event.
func (k *keeper) tell(ctx context.Context, step Step) {
	state := step.State
	leaf, newest := state.Serving.Leaf, state.Authorities[state.newest()].Certificate
	logf.FromContext(ctx).Info("certificate kept", "changes", step.Changes, "certificate", fingerprint(leaf), "notAfter", leaf.NotAfter,
		"authorities", len(state.Authorities), "newestAuthority", fingerprint(newest))
	if slices.Contains(step.Changes, Restored) {
		k.options.Expiry.Event(ctx, corev1.EventTypeWarning, ReasonRestored, "secret %s was deleted or damaged, and has been restored from the memory "+
			"of a replica; to renew the certificate, annotate it with %s=%s", k.options.Secret.Name, RenewAnnotation, RenewCertificate)
	}
	if slices.Contains(step.Changes, AuthorityAdded) {
		when := "it signs at once"
		if len(state.Authorities) > 1 {
			when = fmt.Sprintf("it signs as soon as the webhook configurations have trusted it for %s", k.options.Terms.Overlap())
		}
		k.options.Expiry.Event(ctx, corev1.EventTypeNormal, ReasonRenewed, "CA %s was added, which expires at %s; %s",
			fingerprint(newest), newest.NotAfter.UTC().Format(time.RFC3339), when)
	}
	if slices.Contains(step.Changes, Signed) {
		k.options.Expiry.Event(ctx, corev1.EventTypeNormal, ReasonRenewed, "serving certificate %s was signed, which expires at %s",
			fingerprint(leaf), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
}

// inject writes the caBundle into every webhook of the configurations that has another one, and nothing else: whatever
// somebody changed since is a conflict. It returns how long a configuration has to wait for it, zero for not at all.
func (k *keeper) inject(ctx context.Context, bundle []byte, configurations []client.Object, now time.Time) (time.Duration, error) {
	var errs []error
	var paused time.Duration
	for _, have := range configurations {
		want, changed := withBundle(have, bundle)
		if !changed {
			continue
		}
		kind := kindOf(have)
		if rest := injectPause - now.Sub(k.injected[kind]); rest > 0 && rest <= injectPause {
			paused = rest
			continue
		}
		err := k.client.Patch(ctx, want, client.StrategicMergeFrom(have, client.MergeFromWithOptimisticLock{}), client.FieldOwner(FieldManager))
		if apierrors.IsNotFound(err) {
			continue // there is nothing left that has to trust
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("writing the caBundle of %s %s: %w", kind, have.GetName(), err))
			continue
		}
		k.injected[kind] = now
		k.injections.WithLabelValues(kind).Inc()
		logf.FromContext(ctx).Info("caBundle written", "kind", kind, "configuration", have.GetName())
	}
	return paused, errors.Join(errs...)
}
