package suite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

// An installation that lets everything through until its replicas are ready. It is taken away again, for another one to follow.
func (o *operator) testInstallForLater(t *testing.T, before inventory) {
	block := documentedBlock(t, "### Where Gateways are in use", 0)
	first, rest, _ := strings.Cut(block, "\n")
	o.run(t, first)
	_, err := o.configurations(t.Context())
	wantError(t, "find what fails closed", err, `validatingwebhookconfigurations.admissionregistration.k8s.io "meshwarden" not found`)
	noError(t, "a write meanwhile", o.apply(t.Context(), wrongByItself("older"), client.DryRunAll))
	o.run(t, rest)
	o.waitJudged(t, "older")
	o.uninstall(t, documentedBlock(t, "## Uninstall", 0))
	o.wantInventory(t, before)
}

// What is in the cluster is judged by the commands of the documentation, with the program on the path.
func (o *operator) testCheck(t *testing.T) {
	_, err := binary.Build(t.Context(), binary.Webhook, nil) // it is beside kubectl
	noError(t, "build Meshwarden", err)
	_, err = o.shellIn(t, o.checkout, documentedBlock(t, "## Checking files", 0))
	wantError(t, "check what is in the cluster", err, "exit status 1", "MW101", "older/astray", "1 deny, 0 warn")
}

// The other overlay takes the place of the first, and nothing of that is left.
func (o *operator) testChangeOver(t *testing.T) {
	if o.overlay == meshwarden.SelfManaged {
		o.must(t, documentedBlock(t, "### Changing between the overlays", 0))
		o.waitJudged(t, "shop")
		o.must(t, documentedBlock(t, "### Changing between the overlays", 1))
	} else {
		o.must(t, documentedBlock(t, "### Changing between the overlays", 2))
	}
	o.overlay = o.other()
	o.waitJudged(t, "shop")
	o.wantInstalled(t, filepath.Join("manifests", "overlays", string(o.overlay)))
}

// A kustomization of the operator's own with all components: it is put back after an emergency, and the components are dropped
// and added again.
func (o *operator) testComponents(t *testing.T) {
	const rollOut = "kubectl apply --server-side -k mine\nkubectl -n meshwarden rollout status deployment/meshwarden --timeout=2m"
	// client-ca adds no objects, and asks for certificates that nobody has here.
	components := []string{"istio-revisions", "read-secrets", "static-checks", "static-checks/wildcards"}
	o.writeOwn(t, components...)
	o.must(t, rollOut)
	o.wantInstalled(t, "mine")
	o.outAndBack(t, "shop", func() {
		o.must(t, strings.ReplaceAll(documentedBlock(t, "## In an emergency", 1), "manifests/overlays/self-managed", "mine"))
	})

	drop := documentedBlock(t, "### Without a component", 0)
	o.writeOwn(t)
	o.must(t, rollOut)
	for _, name := range components {
		o.must(t, strings.ReplaceAll(drop, "components/read-secrets", "components/"+name))
	}
	o.wantInstalled(t, "mine")

	o.writeOwn(t, components...)
	o.must(t, rollOut)
	o.waitJudged(t, "shop")
}

// writeOwn writes the kustomization of the documentation to the folder mine, for the operator's overlay, with other components.
func (o *operator) writeOwn(t *testing.T, components ...string) {
	t.Helper()
	const base = "https://github.com/meshwarden/meshwarden//"
	own := documented(t, "- "+base+"manifests/overlays")
	const one = "- " + base + "manifests/components/static-checks?ref=v0.1.0\n"
	if !strings.Contains(own, "components:\n"+one) {
		t.Fatalf("the kustomization of docs/operations.md has not the component that is replaced here:\n%s", own)
	}
	list := ""
	for _, name := range components {
		list += "- ../manifests/components/" + name + "\n"
	}
	own = strings.NewReplacer(one, list, base, "../", "?ref=v0.1.0", "", "overlays/cert-manager", "overlays/"+string(o.overlay),
		"--enforcement=warn", "--enforcement=deny").Replace(own)
	dir := filepath.Join(o.checkout, "mine")
	noError(t, "make a folder", os.MkdirAll(dir, 0o700))
	noError(t, "write a kustomization", os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(own), 0o600))
}

// wantInstalled fails the test unless what is in the cluster of Meshwarden is what the folder of the checkout leads to.
func (o *operator) wantInstalled(t *testing.T, folder string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(filepath.Join(o.checkout, folder))
	noError(t, "find "+folder, err)
	objects, err := meshwarden.Build(dir)
	noError(t, "build "+folder, err)
	wanted := map[string]bool{}
	for _, object := range objects {
		wanted[nameOf(object)] = true
	}
	have := o.inventory(t)
	for name := range wanted {
		if have[name] == nil {
			t.Errorf("%s is not there", name)
		}
	}
	for name, fields := range have {
		metadata := fields["metadata"].(map[string]any)
		labels, _ := metadata["labels"].(map[string]any)
		if labels["app.kubernetes.io/part-of"] == "meshwarden" && metadata["ownerReferences"] == nil && !wanted[name] {
			t.Errorf("%s was left behind", name)
		}
	}
}
