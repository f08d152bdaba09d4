package suite

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/controlplane"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

// TestOperations installs, upgrades and removes Meshwarden by the commands of docs/operations.md, as they stand there. Both
// ways to install take the same course.
func TestOperations(t *testing.T) {
	t.Parallel()
	for _, overlay := range []meshwarden.Overlay{meshwarden.SelfManaged, meshwarden.CertManager} {
		t.Run(string(overlay), func(t *testing.T) {
			t.Parallel()
			// The Deployment controller is played: the real one would count Pods, and those need a kubelet.
			e := startControlPlaneWith(t, controlplane.Options{
				Roles:                 []controlplane.Role{controlplane.Etcd, controlplane.APIServer, controlplane.ControllerManager},
				ControllerManagerArgs: []string{"--controllers=*,-deployment-controller"},
			})
			e.applyCRDs(t)
			// It is there even where Meshwarden makes do without at first.
			e.startCertManager(t)
			e.mustApply(t, lifeBefore)
			before := e.inventory(t)
			o := &operator{environment: e, overlay: overlay, checkout: t.TempDir()}
			o.checkOut(t)
			o.deploy(t)
			t.Run("install without an interruption", func(t *testing.T) { o.testInstallForLater(t, before) })
			t.Run("install", o.testInstall)
			t.Run("upgrade under load", o.testUpgrade)
			t.Run("rotate", o.testRotate)
			t.Run("check", o.testCheck)
			t.Run("change over", o.testChangeOver)
			t.Run("components", o.testComponents)
			t.Run("uninstall", func(t *testing.T) { o.testUninstall(t, before) })
		})
	}
}

// lifeBefore is what Meshwarden finds, and has to leave as it is.
const lifeBefore = `apiVersion: v1
kind: Namespace
metadata: {name: older, labels: {istio-injection: enabled}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny, namespace: older}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: older}
spec: {selector: {istio: ingress}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*.older.example.com"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: astray, namespace: older}
spec: {hosts: [astray.example.com], gateways: [gone], http: [{route: [{destination: {host: astray}}]}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "rootNamespace: istio-system"}`

// operator is somebody who reads docs/operations.md in a checkout of the project.
type operator struct {
	*environment
	overlay  meshwarden.Overlay
	checkout string
	deployer *meshwarden.Deployer
}

// checkOut copies what a checkout has for kubectl.
func (o *operator) checkOut(t *testing.T) {
	t.Helper()
	for _, folder := range []string{"manifests", "certs"} {
		noError(t, "check out", os.CopyFS(filepath.Join(o.checkout, folder), os.DirFS(repository(folder))))
	}
}

// other is the overlay that the operator did not choose.
func (o *operator) other() meshwarden.Overlay {
	if o.overlay == meshwarden.SelfManaged {
		return meshwarden.CertManager
	}
	return meshwarden.SelfManaged
}

// run runs a block of commands for what the operator has installed, which the text around it says how to put in.
func (o *operator) run(t *testing.T, block string) {
	t.Helper()
	o.must(t, strings.ReplaceAll(block, "manifests/overlays/"+string(o.other()), "manifests/overlays/"+string(o.overlay)))
}

// must runs a block of commands and returns what it prints.
func (o *operator) must(t *testing.T, block string) string {
	t.Helper()
	output, err := o.shellIn(t, o.checkout, block)
	noError(t, "run", err)
	return output
}

// deploy plays the Deployment controller, until the end of the test.
func (o *operator) deploy(t *testing.T) {
	t.Helper()
	programs := map[string]string{}
	for version, program := range map[string]binary.Binary{"v0.1.0": binary.WebhookRace, "v99.0.0": binary.Webhook} {
		path, err := binary.Build(t.Context(), program, nil)
		noError(t, "build Meshwarden", err)
		programs["meshwarden/webhook:"+version] = path
	}
	var err error
	o.deployer, err = meshwarden.Deploy(o.cp, meshwarden.Options{Dir: o.checkout, Log: o.log}, func(image string) string {
		return programs[strings.TrimPrefix(image, "registry.example.com/")]
	})
	noError(t, "play the Deployment controller", err)
	t.Cleanup(func() { noError(t, "play the Deployment controller", o.deployer.Stop(background(t))) })
}

func (o *operator) testInstall(t *testing.T) {
	output := o.must(t, map[meshwarden.Overlay]string{
		meshwarden.CertManager: documentedBlock(t, "## Install", 0), meshwarden.SelfManaged: documentedBlock(t, "## Install", 1),
	}[o.overlay])
	if !strings.HasSuffix(output, "enabled\n") {
		t.Errorf("the last command printed something else than enabled:\n%s", output)
	}
	e := o.environment
	e.namespace(t, "shop")
	e.eventually(t, "onboarded", func(ctx context.Context) error { _, err := e.policy(ctx, "shop"); return err })
	e.mustApply(t, gateway("shop", "web", "web.example.com"))
	wantError(t, "a host that is not served", e.apply(t.Context(), virtualService("shop", "web", "other.example.com", "web")), "MW102")
}

// Another version takes the place of the first while clients write, and no write fails.
func (o *operator) testUpgrade(t *testing.T) {
	o.namespace(t, "pairs")
	file := filepath.Join(o.checkout, "manifests", "base", "kustomization.yaml")
	content, err := os.ReadFile(file)
	noError(t, "read the version", err)
	changed := bytes.Replace(content, []byte("newTag: v0.1.0"), []byte("newTag: v99.0.0"), 1)
	if bytes.Equal(content, changed) {
		t.Fatal("manifests/base/kustomization.yaml has another version than v0.1.0")
	}
	noError(t, "check out another version", os.WriteFile(file, changed, 0o600))
	failed, age := o.failedCalls(t), o.ages(t)
	stop := o.load(t, 4)
	o.run(t, documentedBlock(t, "## Upgrade", 0))
	if n := stop(); n < 100 {
		t.Errorf("%d writes are too few to show anything", n)
	}
	if now := o.failedCalls(t); !slices.Equal(failed, now) {
		t.Errorf("the API server could not call Meshwarden:\n%s\nbefore:\n%s", now, failed)
	}
	if now := o.ages(t); !maps.Equal(age, now) {
		t.Errorf("the registrations are of %v, and were of %v", now, age)
	}
	noError(t, "play the Deployment controller", o.deployer.Err())
}

// The certificate is another one after the commands, and is served.
func (o *operator) testRotate(t *testing.T) {
	if o.overlay == meshwarden.CertManager {
		o.testRenewal(t, documentedBlock(t, "### By cert-manager", 0))
		return
	}
	o.testRenewal(t, documentedBlock(t, "### By Meshwarden itself", 0))
	before, err := o.caBundles(t.Context())
	noError(t, "read the caBundles", err)
	o.testRenewal(t, documentedBlock(t, "### By Meshwarden itself", 1))
	after, err := o.caBundles(t.Context())
	noError(t, "read the caBundles", err)
	for name, bundle := range after {
		if bytes.Contains(bundle, bytes.TrimSpace(before[name])) {
			t.Errorf("webhook %s trusts the CA of which the key has become known", name)
		}
	}
}

func (o *operator) testRenewal(t *testing.T, block string) {
	t.Helper()
	key := client.ObjectKey{Namespace: meshwarden.Namespace, Name: "meshwarden-certificate"}
	before, after := &corev1.Secret{}, &corev1.Secret{}
	noError(t, "get the Secret", o.client.Get(t.Context(), key, before))
	o.must(t, block)
	o.eventually(t, "renewed", func(ctx context.Context) error {
		if err := o.client.Get(ctx, key, after); err != nil {
			return err
		}
		if bytes.Equal(before.Data["tls.crt"], after.Data["tls.crt"]) {
			return fmt.Errorf("the Secret has the same certificate")
		}
		return nil
	})
	wantError(t, "a host that is not served", o.apply(t.Context(), virtualService("shop", "web", "other.example.com", "web")), "MW102")
}

// ages returns when the webhook configurations were created.
func (o *operator) ages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	configurations, err := o.configurations(t.Context())
	noError(t, "read the webhook configurations", err)
	for _, c := range configurations {
		found[c.GetKind()] = c.GetCreationTimestamp().String()
	}
	return found
}

// What is left is what was there before, and what the documentation says of onboarded namespaces.
func (o *operator) testUninstall(t *testing.T, before inventory) {
	o.mustApply(t, lifeMeanwhile)
	o.eventually(t, "onboarded", func(ctx context.Context) error { _, err := o.policy(ctx, "mine"); return err })
	for _, kind := range []string{"VirtualService", "Gateway"} {
		o.must(t, "kubectl delete "+kind+" --all -n pairs\nkubectl delete "+kind+" --all -n shop")
	}
	o.uninstall(t, strings.ReplaceAll(documentedBlock(t, "## Uninstall", 0), "manifests/overlays/self-managed", "mine"))
	namespaces := []string{"Namespace declined", "Namespace labelled", "Namespace mine", "Namespace out", "Namespace pairs", "Namespace shop"}
	policies := []string{
		"NetworkPolicy labelled/allow-istio-communication", "NetworkPolicy mine/allow-istio-communication",
		"NetworkPolicy pairs/allow-istio-communication", "NetworkPolicy shop/allow-istio-communication",
	}
	o.wantInventory(t, before.with(slices.Concat(namespaces, policies)...))
	o.must(t, documentedBlock(t, "## Uninstall", 1))
	o.wantInventory(t, before.with(namespaces...))

	o.must(t, documentedBlock(t, "## Uninstall", 2))
	list := filepath.Join(o.checkout, "onboarded.txt")
	onboarded, err := os.ReadFile(list)
	noError(t, "read the list", err)
	if diff := cmp.Diff("declined\nlabelled\nmine\npairs\nshop\n", string(onboarded)); diff != "" {
		t.Errorf("the onboarded namespaces (-want +got):\n%s", diff)
	}
	noError(t, "take one out of the list", os.WriteFile(list, bytes.Replace(onboarded, []byte("labelled\n"), nil, 1), 0o600))
	o.must(t, documentedBlock(t, "## Uninstall", 3))
	o.must(t, documentedBlock(t, "## Uninstall", 4))
	for name, want := range map[string]struct{ labels, annotations map[string]string }{
		"mine":     {annotations: map[string]string{"example.com/note": "kept"}},
		"shop":     {},
		"labelled": {labels: map[string]string{"istio-injection": "enabled"}},
		"out":      {annotations: map[string]string{"meshwarden.io/onboarding": "disabled"}},
		"declined": {annotations: map[string]string{"meshwarden.io/network-policy": "disabled"}},
	} {
		n := o.getNamespace(t, name)
		delete(n.Labels, corev1.LabelMetadataName)
		if !maps.Equal(n.Labels, want.labels) || !maps.Equal(n.Annotations, want.annotations) {
			t.Errorf("namespace %s has labels %v and annotations %v, want %v and %v", name, n.Labels, n.Annotations, want.labels, want.annotations)
		}
	}
	o.wantInventory(t, before.with(namespaces...))
}

// lifeMeanwhile is what users make while Meshwarden is there.
const lifeMeanwhile = `apiVersion: v1
kind: Namespace
metadata: {name: mine, annotations: {example.com/note: kept}}
---
apiVersion: v1
kind: Namespace
metadata: {name: out, annotations: {meshwarden.io/onboarding: disabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: declined, annotations: {meshwarden.io/network-policy: disabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: labelled, labels: {istio-injection: enabled}}`

// uninstall runs the commands and waits until Meshwarden's namespace is gone.
func (o *operator) uninstall(t *testing.T, block string) {
	t.Helper()
	o.run(t, block)
	o.eventually(t, "the namespace is gone", func(ctx context.Context) error {
		return gone(o.client.Get(ctx, client.ObjectKey{Name: meshwarden.Namespace}, &corev1.Namespace{}))
	})
}
