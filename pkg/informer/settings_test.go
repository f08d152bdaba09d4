package informer_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// meshConfig returns Istio's ConfigMap of that name.
func meshConfig(name, text string) object {
	return configMap("istio-system/"+name, "mesh", text)
}

// scoped returns the Deployment with the environment variable that scopes Gateways.
func scoped(deployment object, value string) object {
	env := []any{map[string]any{"name": "PILOT_SCOPE_GATEWAY_TO_NAMESPACE", "value": value}}
	deployment["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{
		"containers": []any{map[string]any{"name": "discovery", "env": env}},
	}}}
	return deployment
}

func TestSettings(t *testing.T) {
	yes, no := true, false
	tests := []struct {
		reason string
		given  istio.MeshSettings
		stored []object
		want   policy.Settings
		// told is what the log says.
		told []string
	}{
		{
			reason: "a cluster without Istio has Istio's defaults",
			want:   policy.Settings{ClusterDomain: "cluster.local", RootNamespace: "istio-system"},
			told:   []string{`"clusterDomain":"cluster.local"`, `"clusterDomainFrom":"Istio's default"`},
		},
		{
			reason: "each setting from where it stands",
			stored: []object{
				meshConfig("istio", "defaultVirtualServiceExportTo: ['.']\nrootNamespace: istio-config"),
				istiodDeployment("istio-system/istiod", "discovery", "--domain", "k8s.example.com"),
			},
			want: policy.Settings{ClusterDomain: "k8s.example.com", DefaultExportTo: []string{"."}, RootNamespace: "istio-config"},
			told: []string{
				`"defaultExportToFrom":"ConfigMap istio-system/istio"`, `"rootNamespaceFrom":"ConfigMap istio-system/istio"`,
				`"clusterDomainFrom":"Deployment istio-system/istiod"`, `"scopeGatewaysFrom":"Istio's default"`,
			},
		},
		{
			reason: "scoped by the environment",
			stored: []object{scoped(istiodDeployment("istio-system/istiod"), "true")},
			want:   policy.Settings{ClusterDomain: "cluster.local", RootNamespace: "istio-system", ScopeGateways: true},
		},
		{
			reason: "what is given comes first",
			given:  istio.MeshSettings{ClusterDomain: "given.local", ScopeGateways: &no, DefaultExportTo: []string{"*"}, RootNamespace: "given"},
			stored: []object{
				meshConfig("istio", "defaultVirtualServiceExportTo: ['.']\nrootNamespace: istio-config"),
				scoped(istiodDeployment("istio-system/istiod"), "true"),
			},
			want: policy.Settings{ClusterDomain: "given.local", DefaultExportTo: []string{"*"}, RootNamespace: "given"},
			told: []string{`"scopeGatewaysFrom":"options"`},
		},
		{
			reason: "what is given in part is read for the rest",
			given:  istio.MeshSettings{ScopeGateways: &yes},
			stored: []object{meshConfig("istio", "rootNamespace: istio-config")},
			want:   policy.Settings{ClusterDomain: "cluster.local", RootNamespace: "istio-config", ScopeGateways: true},
		},
		{
			reason: "one revision alone, with its istiod rather than one that sorts before it",
			stored: []object{
				meshConfig("istio-canary", "rootNamespace: canary"),
				istiodDeployment("istio-system/istiod-canary", "--domain=canary.local"),
				istiodDeployment("istio-system/istiod-a", "--domain=a.local"),
				istiodDeployment("istio-system/istiod", "--domain=default.local"),
			},
			want: policy.Settings{ClusterDomain: "canary.local", RootNamespace: "canary"},
			told: []string{`"chosenConfigMap":"istio-canary"`, `"chosenIstiod":"istiod-canary"`},
		},
		{
			reason: "of several revisions the one that sorts first, and the log says so",
			stored: []object{
				meshConfig("istio-1-31", "rootNamespace: new"), meshConfig("istio-1-30", "rootNamespace: old"),
				istiodDeployment("istio-system/other", "--domain=other.local"), istiodDeployment("istio-system/zother", "--domain=zother.local"),
			},
			want: policy.Settings{ClusterDomain: "other.local", RootNamespace: "old"},
			told: []string{`"configMaps":["istio-1-30","istio-1-31"]`, `"chosenConfigMap":"istio-1-30"`, `"chosenIstiod":"other"`},
		},
		{
			reason: "the default revision before all others",
			stored: []object{meshConfig("istio-1-30", "rootNamespace: old"), meshConfig("istio", "rootNamespace: default")},
			want:   policy.Settings{ClusterDomain: "cluster.local", RootNamespace: "default"},
		},
		{
			reason: "other ConfigMaps and Deployments say nothing",
			stored: []object{
				configMap("istio-system/istio-ca-root-cert", "root-cert.pem", "rootNamespace: wrong"),
				configMap("istio-system/istio-sidecar-injector", "config", "rootNamespace: wrong"),
				meshConfig("istiocanary", "rootNamespace: wrong"), meshConfig("mesh", "rootNamespace: wrong"),
				istiodDeployment("elsewhere/istiod", "--domain=wrong.local"),
				workload("Deployment", "istio-system/istiod", nil, "--domain=wrong.local"),
			},
			want: policy.Settings{ClusterDomain: "cluster.local", RootNamespace: "istio-system"},
		},
		{
			reason: "one that cannot be read says nothing, and the log says why",
			stored: []object{meshConfig("istio", "rootNamespace: ["), istiodDeployment("istio-system/istiod", "--domain=k8s.example.com")},
			want:   policy.Settings{ClusterDomain: "k8s.example.com", RootNamespace: "istio-system"},
		},
	}
	for _, tc := range tests {
		for _, streams := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, streaming lists: %t", tc.reason, streams), func(t *testing.T) {
				w := newWorldWith(t, streams, fake.NewClientBuilder().Build(), tc.given)
				w.server.put("virtualservices", virtualService("shop/web", "web"))
				for _, o := range tc.stored {
					w.server.put(paths[fmt.Sprint(o["kind"])], o)
				}
				w.start(t)
				w.ready(t)
				if diff := cmp.Diff(tc.want, w.model.World().Settings(), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("settings (-want +got):\n%s", diff)
				}
				if got, want := w.hostOf("web"), "web.shop.svc."+tc.want.ClusterDomain; got != want {
					t.Errorf("ready with %q instead of %q", got, want)
				}
				if got := w.Translator().ClusterDomain; got != tc.want.ClusterDomain {
					t.Errorf("requests are translated with %q", got)
				}
				if lines := w.log.having("Istio's settings\""); len(lines) != 1 || len(w.log.having(append(tc.told, "Istio's settings\"")...)) != 1 {
					t.Errorf("the log says %v", lines)
				}
			})
		}
	}
}

// hostOf returns the host of the VirtualService shop/name as the model has it.
func (w *world) hostOf(name string) string {
	v, ok := w.model.World().VirtualService(policy.Key{Namespace: "shop", Name: name})
	if !ok {
		return ""
	}
	return string(v.Hosts[0].Name)
}

// TestSettingsChange: what changes is in force at once, and names are resolved anew where they depend on it.
func TestSettingsChange(t *testing.T) {
	for _, streams := range []bool{true, false} {
		t.Run(fmt.Sprintf("streaming lists: %t", streams), func(t *testing.T) {
			w := newWorld(t, streams)
			w.server.put("virtualservices", virtualService("shop/web", "web"))
			w.server.put("virtualservices", virtualService("shop/full", "web.example.com"))
			w.start(t)
			w.ready(t)
			root := func(want string) func() bool {
				return func() bool { return w.model.World().Settings().RootNamespace == want }
			}
			w.server.put(configMaps, meshConfig("istio", "rootNamespace: first"))
			w.eventually(t, "the ConfigMap is read", root("first"))
			w.server.put(configMaps, meshConfig("istio", "rootNamespace: ["))
			w.eventually(t, "the fault is told", func() bool { return len(w.log.having("cannot read Istio's settings", "istio-system/istio")) > 0 })
			if !root("first")() {
				t.Error("one that cannot be read undoes what was read before")
			}
			w.server.put(configMaps, meshConfig("istio", "rootNamespace: second"))
			w.eventually(t, "it is mended", root("second"))
			w.server.remove(configMaps, meshConfig("istio", "rootNamespace: second"))
			w.eventually(t, "it is gone", root("istio-system"))

			w.server.put("deployments", istiodDeployment("istio-system/istiod", "--domain=k8s.example.com"))
			w.eventually(t, "short names are resolved anew", func() bool { return w.hostOf("web") == "web.shop.svc.k8s.example.com" })
			w.ready(t)
			if got := w.hostOf("full"); got != "web.example.com" {
				t.Errorf("a full name became %q", got)
			}
			w.server.put("virtualservices", virtualService("shop/late", "late"))
			w.eventually(t, "the watch goes on", func() bool { return w.hostOf("late") == "late.shop.svc.k8s.example.com" })
			w.server.put("deployments", istiodDeployment("istio-system/istiod").with("labels", nil))
			w.eventually(t, "it is istiod no longer", func() bool { return w.hostOf("web") == "web.shop.svc.cluster.local" })
		})
	}
}

// TestSettingsWithoutRights: settings that cannot be read must not be guessed, and readiness says what is missing.
func TestSettingsWithoutRights(t *testing.T) {
	for _, resource := range []string{configMaps, "deployments", "daemonsets", "statefulsets", "services", "certificates"} {
		t.Run(resource, func(t *testing.T) {
			w := newWorld(t, true)
			w.server.answer(resource, http.StatusForbidden)
			w.start(t)
			want := "cannot read " + resource[strings.LastIndex(resource, "/")+1:] + ": "
			w.eventually(t, "the reason is known, and nothing else is missing", func() bool {
				err := w.Ready()
				return err != nil && strings.HasPrefix(err.Error(), want) && !strings.Contains(err.Error(), "\n")
			})
			w.server.answer(resource, http.StatusOK)
			w.eventuallyRetrying(t, "ready", func() bool { return w.Ready() == nil })
		})
	}
}

// TestWorkloadsFollow: what Gateways run on is in the model, and what it does not look at is no change.
func TestWorkloadsFollow(t *testing.T) {
	labels := map[string]string{"istio": "ingress"}
	w := newWorld(t, true)
	w.server.put("deployments", workload("Deployment", "edge/a", labels))
	w.server.put("daemonsets", workload("DaemonSet", "edge/b", labels))
	w.server.put("statefulsets", workload("StatefulSet", "edge/c", labels))
	w.server.put("services", newObject("Service", "edge/lb", map[string]any{"selector": labels}))
	w.start(t)
	w.ready(t)
	selected := func() []string {
		var names []string
		for o := range w.model.World().WorkloadsSelectedBy(labels) {
			names = append(names, o.Reference.String())
		}
		return names
	}
	w.eventually(t, "three workloads", func() bool {
		return cmp.Equal(selected(), []string{"DaemonSet edge/b", "Deployment edge/a", "StatefulSet edge/c"})
	})
	w.eventually(t, "the Service", func() bool { return w.model.Count(policy.KindService) == 1 })
	changed := make(chan policy.Ref, 16)
	w.model.Subscribe(func(c mesh.Change) { changed <- c.Ref })
	status := workload("Deployment", "edge/a", labels)
	status["status"] = map[string]any{"readyReplicas": 3}
	w.server.put("deployments", status)
	w.server.put("deployments", workload("Deployment", "edge/a", map[string]string{"istio": "egress"}))
	if got := (<-changed).String(); got != "Deployment edge/a" || len(selected()) != 2 {
		t.Errorf("the first change is of %s, with %v left", got, selected())
	}
	w.server.put("services", newObject("Service", "edge/other", map[string]any{"selector": labels}))
	if got := (<-changed).String(); got != "Service edge/other" {
		t.Errorf("a status counts as a change of %s", got)
	}
}
