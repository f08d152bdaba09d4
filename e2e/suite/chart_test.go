package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/kube"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/strvals"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

// The chart by Helm itself, to namespaces that the manifests do not know. Helm is strict about unknown fields.
func TestChart(t *testing.T) {
	t.Parallel()
	e := startControlPlane(t, nil)
	e.applyCRDs(t)
	e.startCertManager(t)
	e.namespace(t, "istio-system")
	e.namespace(t, "pairs")
	for _, tc := range []struct {
		namespace, certificate string
		serverSide             bool
	}{
		{"cert-manager-server-side", "cert-manager", true},
		{"self-managed-server-side", "self-managed", true},
		{"self-managed-client-side", "self-managed", false},
	} {
		t.Run(tc.namespace, func(t *testing.T) {
			testChartInstall(t, e, tc.namespace, fmt.Sprintf("--server-side=%t --set certificate.mode=%s,istio.revisions=true,readSecrets=true,"+
				"staticChecks.enabled=true,staticChecks.forbidWildcards=true,extraArgs={--drain-delay=3s,--log-level=debug}", tc.serverSide, tc.certificate))
			before := e.registration(t)
			t.Run("Upgrade", func(t *testing.T) { testChartUpgrade(t, e, tc.namespace, before) })
			if tc.certificate == "cert-manager" {
				t.Run("WithoutCertManager", func(t *testing.T) { testChartWithoutCertManager(t, e, tc.namespace) })
			}
			t.Run("OutAndBack", func(t *testing.T) {
				e.outAndBack(t, "pairs", func() {
					_, err := e.helm(t, "%s", strings.Replace(documentedHelm(t, "## In an emergency", 0), "--namespace meshwarden", "--namespace "+tc.namespace, 1))
					noError(t, "put it back", err)
				})
			})
			t.Run("Uninstall", func(t *testing.T) { testChartUninstall(t, e, tc.namespace) })
		})
	}
	t.Run("Documented", func(t *testing.T) { testChartDocumented(t, e) })
	t.Run("WithoutValidation", func(t *testing.T) { testChartWithoutValidation(t, e) })
}

func testChartInstall(t *testing.T, e *environment, namespace, options string) {
	notes, err := e.helm(t, "helm install meshwarden charts/meshwarden --namespace %s --create-namespace %s", namespace, options)
	noError(t, "install", err)
	if !strings.Contains(notes, labelCommand(namespace)) {
		t.Errorf("the notes lack %q:\n%s", labelCommand(namespace), notes)
	}
	e.labelNamespace(t, namespace)
	e.adopt(t, namespace, 2)
	e.wantRejected(t, namespace)
}

// An upgrade takes away neither the caBundle nor the age.
func testChartUpgrade(t *testing.T, e *environment, namespace string, before map[string]string) {
	notes, err := e.helm(t, "helm upgrade meshwarden charts/meshwarden --namespace %s --reset-then-reuse-values --set enforcement=warn,replicas=3", namespace)
	noError(t, "upgrade", err)
	if strings.Contains(notes, labelCommand(namespace)) {
		t.Errorf("the namespace is labelled, and the notes still say:\n%s", notes)
	}
	if d := e.deployment(t, namespace); *d.Spec.Replicas != 3 || !slices.Contains(d.Spec.Template.Spec.Containers[0].Args, "--enforcement=warn") {
		t.Errorf("the Deployment did not change: %d replicas, %v", *d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Args)
	}
	wantSame(t, "an upgrade", before, e.registration(t))
	e.wantRejected(t, namespace) // by the replicas from before
	e.rollout(t)
	noError(t, "a warning only", e.apply(t.Context(), virtualService("pairs", namespace, "a.example.com", "none")))

	_, err = e.helm(t, "helm rollback meshwarden --namespace %s", namespace)
	noError(t, "roll back", err)
	wantSame(t, "a rollback", before, e.registration(t))
	e.rollout(t)
	e.wantRejected(t, namespace+"-again")
}

// Helm removes cert-manager's Certificates and leaves their Secrets. What docs/operations.md says is left to do.
func testChartWithoutCertManager(t *testing.T, e *environment, namespace string) {
	_, err := e.helm(t, "helm upgrade meshwarden charts/meshwarden --namespace %s --reset-then-reuse-values --set certificate.mode=self-managed", namespace)
	noError(t, "upgrade", err)
	e.rollout(t)
	e.wantRejected(t, namespace+"-before")
	before := e.registration(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "meshwarden-certificate"}}
	noError(t, "delete the Secret", e.client.Delete(t.Context(), secret))
	e.eventually(t, "Meshwarden's own CA is trusted", func(context.Context) error {
		if cmp.Equal(before, e.registration(t)) {
			return errors.New("the caBundle is that of before")
		}
		return nil
	})
	e.eventually(t, "requests are answered", func(ctx context.Context) error {
		return refused(e.apply(ctx, virtualService("pairs", namespace+"-after", "a.example.com", "none")), "MW101")
	})
}

// Nothing that is written meanwhile fails, although the replicas go at once: what fails closed goes first.
func testChartUninstall(t *testing.T, e *environment, namespace string) {
	failed := e.failedCalls(t)
	stop := e.load(t, 2)
	_, err := e.helm(t, "helm uninstall meshwarden --namespace %s", namespace)
	noError(t, "uninstall", err)
	noError(t, "stop the replicas", e.Stop(t.Context()))
	if stop() == 0 {
		t.Error("nothing was written meanwhile")
	}
	if diff := cmp.Diff(failed, e.failedCalls(t)); diff != "" {
		t.Errorf("the API server could not call Meshwarden (-before +after):\n%s", diff)
	}
	noError(t, "what was rejected", e.apply(t.Context(), virtualService("pairs", namespace+"-again", "a.example.com", "none")))
	if left := e.ofHelm(t); len(left) > 0 {
		t.Errorf("the chart left %v", left)
	}
	// What is left is Meshwarden's and cert-manager's own, which docs/operations.md lists.
	own := []string{"Secret meshwarden-ca", "Secret meshwarden-certificate", "Lease meshwarden"}
	for _, o := range e.named(t, namespace, "meshwarden") {
		if !slices.Contains(own, o) {
			t.Errorf("%s is left in the namespace", o)
		}
	}
}

// The commands of docs/operations.md, as they are.
func testChartDocumented(t *testing.T, e *environment) {
	for _, line := range []string{
		documentedHelm(t, "### With Helm", 0), documentedHelm(t, "### With Helm", 1), documentedHelm(t, "### With Helm", 2),
	} {
		_, err := e.helm(t, "%s", line)
		noError(t, line, err)
	}
	page, err := os.ReadFile(repository("docs", "operations.md"))
	noError(t, "read the documentation", err)
	if !strings.Contains(string(page), labelCommand("meshwarden")) {
		t.Errorf("the documentation lacks %q", labelCommand("meshwarden"))
	}
	if left := e.ofHelm(t); len(left) > 0 {
		t.Errorf("the commands left %v", left)
	}
}

// An installation that lets everything through until its replicas are ready, by the commands of docs/operations.md.
func testChartWithoutValidation(t *testing.T, e *environment) {
	_, err := e.helm(t, "%s", documentedHelm(t, "### Where Gateways are in use", 0))
	noError(t, "install", err)
	noError(t, "a write before there is any replica", e.apply(t.Context(), wrongByItself("pairs"), client.DryRunAll))
	e.run(t, "meshwarden", 1)
	_, err = e.helm(t, "%s", documentedHelm(t, "### Where Gateways are in use", 1))
	noError(t, "turn the validation on", err)
	e.waitJudged(t, "pairs")
}

// labelCommand is what labelNamespace does.
func labelCommand(namespace string) string {
	return "kubectl label namespace " + namespace + " istio-injection=disabled pod-security.kubernetes.io/enforce=restricted"
}

// helm runs a command line of Helm's by Helm's library, as far as this file needs it, and returns the notes. What a
// Deployment says is started by nobody, so --wait is not among the options.
func (e *environment) helm(t *testing.T, line string, parts ...any) (notes string, err error) {
	t.Helper()
	words := strings.Fields(fmt.Sprintf(line, parts...))
	var namespace, valuesText string
	var createNamespace, serverSide, reuse bool
	flags := pflag.NewFlagSet("helm", pflag.ContinueOnError)
	flags.StringVar(&namespace, "namespace", "default", "")
	flags.StringVar(&valuesText, "set", "", "")
	flags.BoolVar(&createNamespace, "create-namespace", false, "")
	flags.BoolVar(&serverSide, "server-side", true, "")
	flags.BoolVar(&reuse, "reset-then-reuse-values", false, "")
	noError(t, line, flags.Parse(words[2:]))
	values, err := strvals.Parse(valuesText)
	noError(t, line, err)
	config := e.helmConfiguration(t, namespace)
	var release any
	switch name := flags.Arg(0); words[1] {
	case "install":
		a := action.NewInstall(config)
		a.ReleaseName, a.Namespace, a.CreateNamespace, a.ServerSideApply = name, namespace, createNamespace, serverSide
		a.WaitStrategy, a.Timeout = kube.HookOnlyStrategy, patience
		release, err = a.RunWithContext(t.Context(), loadChart(t, flags.Arg(1)), values)
	case "upgrade": // applies as the install did, which is Helm's default
		a := action.NewUpgrade(config)
		a.Namespace, a.ResetThenReuseValues, a.WaitStrategy, a.Timeout = namespace, reuse, kube.HookOnlyStrategy, patience
		release, err = a.RunWithContext(t.Context(), name, loadChart(t, flags.Arg(1)), values)
	case "rollback":
		a := action.NewRollback(config)
		a.WaitStrategy, a.Timeout = kube.HookOnlyStrategy, patience
		err = a.Run(name)
	case "uninstall":
		a := action.NewUninstall(config)
		a.WaitStrategy, a.Timeout = kube.HookOnlyStrategy, patience
		_, err = a.Run(name)
	default:
		t.Fatalf("%s: the command is not known here", line)
	}
	if r, ok := release.(*releasev1.Release); ok && err == nil {
		notes = r.Info.Notes
	}
	return notes, err
}

func loadChart(t *testing.T, path string) chart.Charter {
	t.Helper()
	c, err := loader.Load(repository(path))
	noError(t, "load the chart", err)
	return c
}

// labelNamespace does what the notes say.
func (e *environment) labelNamespace(t *testing.T, name string) {
	t.Helper()
	patch := `{"metadata":{"labels":{"istio-injection":"disabled","pod-security.kubernetes.io/enforce":"restricted"}}}`
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	noError(t, "label the namespace", e.client.Patch(t.Context(), namespace, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// adopt starts replicas of what is installed in the namespace, and waits until the webhooks are in force.
func (e *environment) adopt(t *testing.T, namespace string, replicas int) {
	t.Helper()
	e.run(t, namespace, replicas)
	e.waitInForce(t)
}

// run starts replicas of what is installed in the namespace, until the end of the test, and waits until they are ready.
func (e *environment) run(t *testing.T, namespace string, replicas int) {
	t.Helper()
	webhook, err := binary.Build(t.Context(), binary.WebhookRace, nil)
	noError(t, "build Meshwarden", err)
	e.Installation, err = meshwarden.Adopt(t.Context(), e.cp, namespace, meshwarden.Options{Binary: webhook, Dir: t.TempDir(), Log: e.log})
	noError(t, "adopt Meshwarden", err)
	t.Cleanup(func() { noError(t, "stop Meshwarden", e.Stop(background(t))) })
	e.replicas = nil
	for range replicas {
		e.replicas = append(e.replicas, e.startReplica(t))
	}
}

// rollout replaces the replicas by what the Deployment says now.
func (e *environment) rollout(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	e.replicas, err = e.Rollout(ctx, meshwarden.ReplicaOptions{})
	noError(t, "roll out", err)
}

// wantRejected fails the test unless a VirtualService without its Gateway is rejected.
func (e *environment) wantRejected(t *testing.T, name string) {
	t.Helper()
	wantError(t, "a VirtualService without its Gateway", e.apply(t.Context(), virtualService("pairs", name, "a.example.com", "none")), "MW101")
}

func (e *environment) deployment(t *testing.T, namespace string) *appsv1.Deployment {
	t.Helper()
	d := &appsv1.Deployment{}
	noError(t, "get the Deployment", e.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "meshwarden"}, d))
	return d
}

// registration says of each webhook configuration which object it is and since when, and of each webhook whom the API server
// trusts.
func (e *environment) registration(t *testing.T) map[string]string {
	t.Helper()
	is := map[string]string{}
	configurations, err := e.configurations(t.Context())
	noError(t, "get the webhook configurations", err)
	for _, o := range configurations {
		is[o.GetKind()] = fmt.Sprint(o.GetUID(), " ", o.GetCreationTimestamp())
	}
	bundles, err := e.caBundles(t.Context())
	noError(t, "read the caBundles", err)
	for name, bundle := range bundles {
		is[name] = string(bundle)
	}
	return is
}

// wantSame fails the test when the webhook configurations were made anew, which would make the installation younger than the
// namespaces that it missed, or lost whom to trust.
func wantSame(t *testing.T, what string, before, after map[string]string) {
	t.Helper()
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("%s changed the registration (-before +after):\n%s", what, diff)
	}
}

// ofHelm returns every object of the cluster that Helm made, or that bears its labels, unless it has an owner: no garbage
// collector runs here.
func (e *environment) ofHelm(t *testing.T) []string {
	t.Helper()
	return e.listAll(t, func(o metav1.PartialObjectMetadata) bool {
		return len(o.OwnerReferences) == 0 && (o.Labels["app.kubernetes.io/managed-by"] == "Helm" || o.Labels["owner"] == "helm")
	})
}

// named returns every object of the namespace whose name begins so, unless it has an owner.
func (e *environment) named(t *testing.T, namespace, prefix string) []string {
	t.Helper()
	return e.listAll(t, func(o metav1.PartialObjectMetadata) bool {
		return len(o.OwnerReferences) == 0 && o.Namespace == namespace && o.Kind != "Event" && strings.HasPrefix(o.Name, prefix)
	})
}

// listAll returns every object of the cluster that is wanted, of whatever kind.
func (e *environment) listAll(t *testing.T, wanted func(metav1.PartialObjectMetadata) bool) []string {
	t.Helper()
	discoverer, err := discovery.NewDiscoveryClientForConfig(e.cp.Config())
	noError(t, "make a client", err)
	resources, err := discoverer.ServerPreferredResources()
	noError(t, "discover the API's resources", err)
	var found []string
	for _, r := range resources {
		version, err := schema.ParseGroupVersion(r.GroupVersion)
		noError(t, "discover the API's resources", err)
		for _, resource := range r.APIResources {
			if !slices.Contains(resource.Verbs, "list") {
				continue
			}
			list := &metav1.PartialObjectMetadataList{}
			list.SetGroupVersionKind(version.WithKind(resource.Kind + "List"))
			if err := e.client.List(t.Context(), list); err != nil && !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
				t.Fatalf("list %s: %v", resource.Kind, err)
			}
			for _, o := range list.Items {
				o.Kind = resource.Kind
				if wanted(o) {
					found = append(found, o.Kind+" "+o.Name)
				}
			}
		}
	}
	return found
}
