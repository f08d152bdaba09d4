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

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
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
			if overlay == meshwarden.CertManager {
				e.startCertManager(t)
			}
			e.mustApply(t, lifeBefore)
			before := e.inventory(t)
			o := &operator{environment: e, overlay: overlay, checkout: t.TempDir()}
			o.checkOut(t)
			o.deploy(t)
			t.Run("install", o.testInstall)
			t.Run("upgrade under load", o.testUpgrade)
			t.Run("rotate", o.testRotate)
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
spec: {selector: {istio: ingress}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*.older.example.com"]}]}`

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

// run runs the commands below the heading that install this overlay, or that are about none.
func (o *operator) run(t *testing.T, heading string) string {
	t.Helper()
	other := map[meshwarden.Overlay]meshwarden.Overlay{meshwarden.SelfManaged: meshwarden.CertManager, meshwarden.CertManager: meshwarden.SelfManaged}[o.overlay]
	var output string
	for _, block := range commands(t, heading) {
		switch {
		case heading == "## Install" && strings.Contains(block, string(other)):
			continue
		case heading != "## Install":
			// The text says which one to take.
			block = strings.ReplaceAll(block, "overlays/"+string(other), "overlays/"+string(o.overlay))
		}
		output += o.must(t, block)
	}
	return output
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
	for version, program := range map[string]binary.Binary{"v0.1.0": binary.WebhookRace, "v0.2.0": binary.Webhook} {
		path, err := binary.Build(t.Context(), program, nil)
		noError(t, "build Meshwarden", err)
		programs["meshwarden/webhook:"+version] = path
	}
	var err error
	o.deployer, err = meshwarden.Deploy(o.cp, meshwarden.Options{Dir: o.checkout, Log: o.log}, func(image string) string { return programs[image] })
	noError(t, "play the Deployment controller", err)
	t.Cleanup(func() { noError(t, "play the Deployment controller", o.deployer.Stop(background(t))) })
}

func (o *operator) testInstall(t *testing.T) {
	output := o.run(t, "## Install")
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
	changed := bytes.Replace(content, []byte("newTag: v0.1.0"), []byte("newTag: v0.2.0"), 1)
	if bytes.Equal(content, changed) {
		t.Fatal("manifests/base/kustomization.yaml has another version than v0.1.0")
	}
	noError(t, "check out another version", os.WriteFile(file, changed, 0o600))
	failed, age := o.failedCalls(t), o.ages(t)
	stop := o.load(t, 4)
	o.run(t, "## Upgrade")
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

// The certificate is another one after the command, and is served.
func (o *operator) testRotate(t *testing.T) {
	key := client.ObjectKey{Namespace: meshwarden.Namespace, Name: "meshwarden-certificate"}
	before, after := &corev1.Secret{}, &corev1.Secret{}
	noError(t, "get the Secret", o.client.Get(t.Context(), key, before))
	o.run(t, map[meshwarden.Overlay]string{meshwarden.SelfManaged: "### By Meshwarden itself", meshwarden.CertManager: "### By cert-manager"}[o.overlay])
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
func (o *operator) testUninstall(t *testing.T, before []string) {
	o.mustApply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: mine, annotations: {example.com/note: kept}}")
	o.eventually(t, "onboarded", func(ctx context.Context) error { _, err := o.policy(ctx, "mine"); return err })
	for _, kind := range []string{"VirtualService", "Gateway"} {
		o.must(t, "kubectl delete "+kind+" --all -n pairs\nkubectl delete "+kind+" --all -n shop")
	}
	keep, clean := uninstallCommands(t)
	o.must(t, strings.ReplaceAll(keep, "overlays/self-managed", "overlays/"+string(o.overlay)))
	o.eventually(t, "the namespace is gone", func(ctx context.Context) error {
		if err := o.client.Get(ctx, client.ObjectKey{Name: meshwarden.Namespace}, &corev1.Namespace{}); client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("namespace %s: %w", meshwarden.Namespace, err)
		}
		return nil
	})
	onboarded := []string{
		"NetworkPolicy mine/allow-istio-communication", "NetworkPolicy pairs/allow-istio-communication",
		"NetworkPolicy shop/allow-istio-communication", "Namespace mine", "Namespace pairs", "Namespace shop",
	}
	o.wantInventory(t, append(slices.Clone(before), onboarded...))
	o.must(t, clean)
	o.wantInventory(t, append(slices.Clone(before), onboarded[3:]...))
	namespace := &corev1.Namespace{}
	noError(t, "get the namespace", o.client.Get(t.Context(), client.ObjectKey{Name: "mine"}, namespace))
	if namespace.Labels["istio-injection"] != "enabled" || !maps.Equal(namespace.Annotations, map[string]string{"example.com/note": "kept"}) {
		t.Errorf("the namespace has labels %v and annotations %v", namespace.Labels, namespace.Annotations)
	}
}

// uninstallCommands returns the commands that remove Meshwarden, and those that clean up after it.
func uninstallCommands(t *testing.T) (keep, clean string) {
	t.Helper()
	blocks := commands(t, "## Uninstall")
	if len(blocks) != 2 {
		t.Fatalf("docs/operations.md has %d blocks of commands for uninstalling instead of 2", len(blocks))
	}
	return blocks[0], blocks[1]
}

func (e *environment) wantInventory(t *testing.T, want []string) {
	t.Helper()
	slices.Sort(want)
	have := e.inventory(t)
	for _, name := range have {
		if !slices.Contains(want, name) {
			t.Errorf("%s was left behind", name)
		}
	}
	for _, name := range want {
		if !slices.Contains(have, name) {
			t.Errorf("%s was taken away", name)
		}
	}
}

// inventory names every object of the cluster, apart from Events and what Kubernetes makes for itself in each namespace.
func (e *environment) inventory(t *testing.T) []string {
	t.Helper()
	finder, err := discovery.NewDiscoveryClientForConfig(e.cp.Config())
	noError(t, "make a client", err)
	lists, err := finder.ServerPreferredResources()
	noError(t, "list the kinds", err)
	var names []string
	for _, list := range lists {
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || slices.Contains([]string{"Event", "Lease", "EndpointSlice", "Endpoints", "APIService"}, r.Kind) {
				continue
			}
			objects := &metav1.PartialObjectMetadataList{}
			objects.APIVersion, objects.Kind = list.GroupVersion, r.Kind+"List"
			noError(t, "list "+r.Name, e.client.List(t.Context(), objects))
			for _, o := range objects.Items {
				if o.Name != "kube-root-ca.crt" && o.Name != "default" && !strings.Contains(o.Namespace, "kube-") && o.Namespace != "cert-manager" {
					names = append(names, strings.TrimPrefix(strings.TrimPrefix(r.Kind+" "+o.Namespace+"/"+o.Name, ""), "/"))
				}
			}
		}
	}
	for i, name := range names {
		names[i] = strings.Replace(name, " /", " ", 1)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
