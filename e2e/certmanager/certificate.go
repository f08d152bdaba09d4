package certmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	metav1 "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// issuedInterval is how often it is looked whether a Certificate is issued.
	issuedInterval = 50 * time.Millisecond
	issuedTimeout  = 3 * time.Minute
)

// Renewal is the JSON patch of a Certificate's status that has cert-manager issue it anew, as `cmctl renew` does. It fails
// while the Certificate is being issued already.
const Renewal = `[{"op":"add","path":"/status/conditions/-","value":` +
	`{"type":"Issuing","status":"True","reason":"ManuallyTriggered","message":"renewed by hand"}}]`

// WaitIssued waits until a Certificate is ready and returns its Secret.
func WaitIssued(ctx context.Context, c client.Client, name types.NamespacedName) (*corev1.Secret, error) {
	return waitRevision(ctx, c, name, 1)
}

// Renew has a Certificate that is ready issued anew, and returns its Secret afterwards.
func Renew(ctx context.Context, c client.Client, name types.NamespacedName) (*corev1.Secret, error) {
	certificate, err := get(ctx, c, name)
	if err != nil {
		return nil, fmt.Errorf("renew Certificate %s: %w", name, err)
	}
	renewal := client.RawPatch(types.JSONPatchType, []byte(Renewal))
	if err := c.Status().Patch(ctx, object(name), renewal); err != nil {
		return nil, fmt.Errorf("renew Certificate %s: %w", name, err)
	}
	return waitRevision(ctx, c, name, ptr.Deref(certificate.Status.Revision, 0)+1)
}

// waitRevision waits until at least this revision of a Certificate, counted from 1, is in its Secret, which it returns.
func waitRevision(ctx context.Context, c client.Client, name types.NamespacedName, revision int) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	var last error
	err := wait.PollUntilContextTimeout(ctx, issuedInterval, issuedTimeout, true, func(ctx context.Context) (bool, error) {
		certificate, err := get(ctx, c, name)
		if err == nil {
			err = issued(certificate, revision)
		}
		if err == nil {
			err = c.Get(ctx, client.ObjectKey{Namespace: name.Namespace, Name: certificate.Spec.SecretName}, secret)
		}
		last = err
		return err == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for Certificate %s: %w: %w", name, err, last)
	}
	return secret, nil
}

// issued returns what a Certificate lacks to have been issued as it is now, in this revision or a later one.
func issued(certificate *certmanagerv1.Certificate, revision int) error {
	if got := ptr.Deref(certificate.Status.Revision, 0); got < revision {
		return fmt.Errorf("it is at revision %d, want %d", got, revision)
	}
	ready := errors.New("it has no condition Ready")
	for _, condition := range certificate.Status.Conditions {
		isTrue := condition.Status == metav1.ConditionTrue
		switch condition.Type {
		case certmanagerv1.CertificateConditionIssuing:
			if isTrue {
				return fmt.Errorf("it is being issued: %s", condition.Message)
			}
		case certmanagerv1.CertificateConditionReady:
			ready = nil
			if !isTrue || condition.ObservedGeneration != certificate.Generation {
				ready = fmt.Errorf("it is not ready: %s", condition.Message)
			}
		}
	}
	return ready
}

func get(ctx context.Context, c client.Client, name types.NamespacedName) (*certmanagerv1.Certificate, error) {
	o := object(name)
	if err := c.Get(ctx, name, o); err != nil {
		return nil, err
	}
	certificate := &certmanagerv1.Certificate{}
	return certificate, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, certificate)
}

// object is a Certificate for a client whose scheme does not have cert-manager's types.
func object(name types.NamespacedName) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(certmanagerv1.SchemeGroupVersion.WithKind(certmanagerv1.CertificateKind))
	o.SetNamespace(name.Namespace)
	o.SetName(name.Name)
	return o
}
