package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/certmanager"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

// Meshwarden has the rights that it needs and no others.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	log := newAuditLog(t, serviceAccount)
	// At the end, it loses the rights of its overlay.
	e := start(t, setup{replicas: 2, args: []string{"--backfill=all"}, apiServerArgs: log.arguments(), mayBeRefused: true, before: func(t *testing.T, e *environment) {
		crds, err := certmanager.CRDs(t.Context())
		noError(t, "find cert-manager's CRDs", err)
		noError(t, "apply cert-manager's CRDs", e.cp.ApplyCRDs(t.Context(), crds))
		e.namespace(t, "older-with-policy")
		own := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "older-with-policy", Name: "default-deny"}}
		noError(t, "create a policy", e.client.Create(t.Context(), own))
		e.waitNextSecond(t)
	}})
	e.useEveryRight(t)
	t.Run("NoneTooMany", func(t *testing.T) { testRights(t, e, log) })
	t.Run("Limits", func(t *testing.T) { testLimits(t, e) })
}

// useEveryRight has Meshwarden do all that it ever does.
func (e *environment) useEveryRight(t *testing.T) {
	t.Helper()
	e.event(t, "NetworkPolicyDeclined", "Namespace", "default", "older-with-policy")
	for _, name := range []string{"edge", "shop"} {
		e.namespace(t, name)
	}
	p := e.waitPolicy(t, "shop")
	noError(t, "change the policy", e.client.Patch(t.Context(), p, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"ingress":[]}}`))))
	e.event(t, "NetworkPolicyRepaired", "NetworkPolicy", "shop", p.Name)
	e.waitPolicy(t, "edge")
	e.patchNamespace(t, "edge", `{"metadata":{"annotations":{"meshwarden.io/onboarding":"disabled"}}}`)
	e.waitNoPolicy(t, "edge")

	// Before it denies or warns, it reads again what that depends on: Gateways, VirtualServices, workloads and Certificates.
	e.mustApply(t, `
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {namespace: edge, name: shop}
spec:
  secretName: shop
  dnsNames: [another.example.com]
  issuerRef: {name: ca}
`)
	for _, kind := range []string{"Deployment", "DaemonSet", "StatefulSet"} {
		name := strings.ToLower(kind)
		workload := strings.NewReplacer("kind: Deployment", "kind: "+kind, "name: ingress}", "name: "+name+"}", "ingressgateway", name)
		e.mustApply(t, workload.Replace(ingressDeployment))
		taken := strings.ReplaceAll(tlsGateway(name, name+".example.com"), "ingressgateway", name)
		e.mustApply(t, taken)
		e.mustApply(t, virtualService("shop", name, name+".example.com", name))
		e.waitWarned(t, strings.Replace(taken, "name: "+name+"}", "name: z-"+name+"}", 1), "MW201", kind+" edge/"+name, "MW209", "Certificate edge/shop")
		e.waitWarned(t, strings.ReplaceAll(taken, name+".example.com", "other.example.com"), "MW207", name+".example.com")
	}
}

// waitWarned waits until the dry run of an apply warns with every part, as it does once Meshwarden knows what is stored.
func (e *environment) waitWarned(t *testing.T, text string, parts ...string) {
	t.Helper()
	e.eventually(t, fmt.Sprintf("a warning with %q", parts), func(context.Context) error {
		warnings := e.warnings(t, func(ctx context.Context, c client.Client) error {
			o := documents(text)[0]
			return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test"), client.ForceOwnership, client.DryRunAll)
		})
		for _, part := range parts {
			if !strings.Contains(warnings, part) {
				return fmt.Errorf("the warnings are %q", warnings)
			}
		}
		return nil
	})
}

// limitsAgent tells the tests' requests from Meshwarden's own.
const limitsAgent = "limits"

// limit is something to try as Meshwarden.
type limit struct {
	reason string
	try    func(context.Context, client.Client) error
	// refusal is a part of the error; empty means that it is allowed.
	refusal string
}

// testLimits tries things as Meshwarden's ServiceAccount.
func testLimits(t *testing.T, e *environment) {
	e.mustApply(t, limitObjects)
	as := e.serviceAccount(t, func(*rest.Config) {})
	e.eventually(t, "the guards are in force", func(ctx context.Context) error {
		const labels, guard = `{"metadata":{"labels":{"a":"b"}}}`, "ValidatingAdmissionPolicy"
		configuration := patch("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "meshwarden", client.RawPatch(types.MergePatchType, []byte(labels)))
		return errors.Join(
			refused(patchNamespace("guarded", labels)(ctx, as), guard),
			refused(patchNetworkPolicy("guarded", labels)(ctx, as), guard),
			refused(configuration(ctx, as), guard))
	})
	e.tryLimits(t, as, slices.Concat(readLimits(), writeLimits(), networkPolicyLimits(), namespaceLimits(), certificateLimits("")))
	t.Run("Impersonation", func(t *testing.T) {
		as := e.serviceAccount(t, func(c *rest.Config) { c.Impersonate.UserName = "kubernetes-admin" })
		e.tryLimits(t, as, []limit{{"it may not be anybody else", list("v1", "NamespaceList", ""), "cannot impersonate"}})
	})
	t.Run("CertManager", func(t *testing.T) {
		e.changeOver(t)
		e.eventually(t, "the API server has noticed", func(ctx context.Context) error {
			return refused(watch("SecretList", "meshwarden", "meshwarden-certificate")(ctx, as), "cannot")
		})
		e.tryLimits(t, as, certificateLimits("cannot"))
	})
}

// serviceAccount returns a client that is Meshwarden to the API server.
func (e *environment) serviceAccount(t *testing.T, change func(*rest.Config)) client.Client {
	t.Helper()
	token, err := e.Token(t.Context(), "meshwarden")
	noError(t, "get a token", err)
	config := rest.AnonymousClientConfig(e.cp.Config())
	config.BearerToken, config.UserAgent = token, limitsAgent
	change(config)
	c, err := client.NewWithWatch(config, client.Options{Mapper: e.client.RESTMapper()})
	noError(t, "make a client", err)
	return c
}

func (e *environment) tryLimits(t *testing.T, as client.Client, limits []limit) {
	t.Helper()
	for _, l := range limits {
		if err := refused(l.try(t.Context(), as), l.refusal); err != nil {
			t.Errorf("%s: %v", l.reason, err)
		}
	}
}

// changeOver does what a user does who changes from the overlay self-managed to cert-manager: applies the one, and deletes
// what only the other has by the documented commands.
func (e *environment) changeOver(t *testing.T) {
	t.Helper()
	dir, err := meshwarden.Folder(t.Context(), "manifests", "overlays", string(meshwarden.CertManager))
	noError(t, "find the overlay", err)
	objects, err := meshwarden.Build(dir)
	noError(t, "build the overlay", err)
	noError(t, "apply the overlay", meshwarden.Apply(t.Context(), e.client, objects))
	_, err = e.shell(t, documentedBlock(t, "### Changing between the overlays", 1))
	noError(t, "delete what is left of the other overlay", err)
}
