package admission

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshwarden/meshwarden/pkg/istio"
)

// Where the webhooks are served.
const (
	// ServiceName is the name of Meshwarden's Service, whose port 443 leads to the webhook server.
	ServiceName = "meshwarden-webhook"
	// NamespacePath serves the mutating webhook on Namespaces.
	NamespacePath = "/mutate-namespace"
	// ValidatePath serves the validating webhooks on Gateways and VirtualServices, as does every path below it.
	ValidatePath = "/validate/"
	// ConfigurationName is the name of both webhook configurations.
	ConfigurationName = "meshwarden"
)

// emergencyPath is where the validating webhooks call. When Meshwarden does not answer, the API server refuses the request
// with words of its own, and the URL is all in them that is ours to choose: it says what to do.
const emergencyPath = ValidatePath + "see/docs/operations.md/in-an-emergency/kubectl/delete/validatingwebhookconfiguration/" + ConfigurationName

// Mutating returns the registration of the webhook on Namespaces, with Meshwarden's Service in the given namespace.
//
// It fails open: while Meshwarden is away, namespaces come into being without label, and the onboarding controller adds
// it afterwards.
func Mutating(namespace string) *admissionregistrationv1.MutatingWebhookConfiguration {
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: admissionregistrationv1.SchemeGroupVersion.String(), Kind: "MutatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: ConfigurationName},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name:                    "namespace.meshwarden.io",
			ClientConfig:            clientConfig(namespace, NamespacePath),
			Rules:                   rules("", "v1", "namespaces", admissionregistrationv1.ClusterScope, admissionregistrationv1.Create),
			FailurePolicy:           new(admissionregistrationv1.Ignore),
			MatchPolicy:             new(admissionregistrationv1.Equivalent),
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			TimeoutSeconds:          new(int32(2)),
			AdmissionReviewVersions: []string{"v1"},
		}},
	}
}

// Validating returns the registration of the webhooks on Gateways and VirtualServices.
//
// Creation and update fail closed: what could not be judged is not stored. The deletion of a Gateway only warns and fails
// open, so that no deletion of a namespace ever waits for Meshwarden. The one side effect is an Event about a rule that an
// object's annotation overrode, and a dry run has none.
func Validating(namespace string) *admissionregistrationv1.ValidatingWebhookConfiguration {
	webhook := func(name, resource string, failure admissionregistrationv1.FailurePolicyType, operations ...admissionregistrationv1.OperationType) admissionregistrationv1.ValidatingWebhook {
		var conditions []admissionregistrationv1.MatchCondition
		if failure == admissionregistrationv1.Fail {
			conditions = matchConditions()
		}
		return admissionregistrationv1.ValidatingWebhook{
			MatchConditions:         conditions,
			Name:                    name,
			ClientConfig:            clientConfig(namespace, emergencyPath),
			Rules:                   rules(istio.GroupVersion().Group, istio.GroupVersion().Version, resource, admissionregistrationv1.NamespacedScope, operations...),
			FailurePolicy:           &failure,
			MatchPolicy:             new(admissionregistrationv1.Equivalent),
			SideEffects:             new(admissionregistrationv1.SideEffectClassNoneOnDryRun),
			TimeoutSeconds:          new(int32(5)),
			AdmissionReviewVersions: []string{"v1"},
		}
	}
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		TypeMeta:   metav1.TypeMeta{APIVersion: admissionregistrationv1.SchemeGroupVersion.String(), Kind: "ValidatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{Name: ConfigurationName},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{
			webhook("virtualservice.meshwarden.io", "virtualservices", admissionregistrationv1.Fail, admissionregistrationv1.Create, admissionregistrationv1.Update),
			webhook("gateway.meshwarden.io", "gateways", admissionregistrationv1.Fail, admissionregistrationv1.Create, admissionregistrationv1.Update),
			webhook("gateway-delete.meshwarden.io", "gateways", admissionregistrationv1.Ignore, admissionregistrationv1.Delete),
		},
	}
}

// matchConditions keep away what is not to be judged, so that it passes while Meshwarden is away as well. They must never
// fail: where a condition has no value, the API server refuses the request.
func matchConditions() []admissionregistrationv1.MatchCondition {
	const allowed = `.metadata.?annotations[?"` + AllowAnnotation + `"]`
	return []admissionregistrationv1.MatchCondition{
		// A finalizer that cannot be removed would keep its namespace from being deleted.
		{Name: "not-being-deleted", Expression: `!has(object.metadata.deletionTimestamp)`},
		// An update is judged if it changes what the rules read or what admission reads besides. Any other one could at most
		// repeat as warnings what the stored object has already. The API server raises the generation with each change outside
		// of the metadata, and nobody else can write it: comparing it costs nothing, where comparing the specs would cost the
		// more the larger they are, and takes numbers for equal that Istio may not.
		{Name: "changes-what-is-judged", Expression: `request.operation != "UPDATE" || ` +
			`object.metadata.?generation != oldObject.metadata.?generation || object` + allowed + ` != oldObject` + allowed},
	}
}

func clientConfig(namespace, path string) admissionregistrationv1.WebhookClientConfig {
	return admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{
		Namespace: namespace, Name: ServiceName, Path: &path, Port: new(int32(443)),
	}}
}

func rules(group, version, resource string, scope admissionregistrationv1.ScopeType, operations ...admissionregistrationv1.OperationType) []admissionregistrationv1.RuleWithOperations {
	return []admissionregistrationv1.RuleWithOperations{{
		Operations: operations,
		Rule: admissionregistrationv1.Rule{
			APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource}, Scope: &scope,
		},
	}}
}
