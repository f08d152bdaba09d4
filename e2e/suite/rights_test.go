package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// serviceAccount is who Meshwarden is in a cluster.
const serviceAccount = "system:serviceaccount:meshwarden:meshwarden"

// auditPolicy has the API server write down what a ServiceAccount asks for.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: [%q]}
- {level: None}
`

// auditLog is where the API server writes.
type auditLog struct{ policy, file string }

func newAuditLog(t *testing.T, serviceAccount string) auditLog {
	t.Helper()
	dir := t.TempDir()
	l := auditLog{policy: filepath.Join(dir, "policy.yaml"), file: filepath.Join(dir, "audit.log")}
	noError(t, "write the audit policy", os.WriteFile(l.policy, fmt.Appendf(nil, auditPolicy, serviceAccount), 0o600))
	return l
}

// arguments are those of the API server.
func (l auditLog) arguments() []string {
	return []string{"--audit-policy-file=" + l.policy, "--audit-log-path=" + l.file}
}

// auditEvent is what counts of a line of the log.
type auditEvent struct {
	Verb, UserAgent string
	ObjectRef       *struct{ Namespace, Name, APIGroup, Resource, Subresource string }
	ResponseStatus  struct{ Code int }
}

// requests returns what Meshwarden asked for so far, and what of it was refused, without what tests tried with its token.
func (l auditLog) requests(t *testing.T) (asked, refused map[right]bool) {
	t.Helper()
	text, err := os.ReadFile(l.file)
	noError(t, "read the audit log", err)
	asked, refused = map[right]bool{}, map[right]bool{}
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			continue // it is being written
		}
		var e auditEvent
		noError(t, "read a line of the audit log", json.Unmarshal(line, &e))
		if e.UserAgent == limitsAgent || e.ObjectRef == nil {
			continue
		}
		o := e.ObjectRef
		r := right{verb: e.Verb, group: o.APIGroup, resource: o.Resource, namespace: o.Namespace, name: o.Name}
		if o.Subresource != "" {
			r.resource += "/" + o.Subresource
		}
		asked[r] = true
		switch e.ResponseStatus.Code {
		case http.StatusForbidden:
			refused[r] = true
		case http.StatusCreated:
			// An apply that creates is authorised as a creation as well.
			r.verb = "create"
			asked[r] = true
		}
	}
	return asked, refused
}

// right is to do something with objects of a resource. An empty namespace or name stands for all of them.
type right struct{ verb, group, resource, namespace, name string }

// String returns such as "patch secrets meshwarden-certificate in meshwarden".
func (r right) String() string {
	text := r.verb + " " + r.resource
	if r.group != "" {
		text += "." + r.group
	}
	if r.name != "" {
		text += " " + r.name
	}
	if r.namespace != "" {
		text += " in " + r.namespace
	}
	return text
}

// covers says whether the right is enough for a request.
func (r right) covers(request right) bool {
	if r.verb == "list" && request.verb == "watch" {
		// API servers of today send what there is as the beginning of a watch. Older ones have to be asked for a list.
		request.verb = "list"
	}
	if r.namespace == "" {
		request.namespace = ""
	}
	if r.name == "" {
		request.name = ""
	}
	return r == request
}

// rightsOf returns every right that the objects give to Meshwarden's ServiceAccount.
func rightsOf(t *testing.T, objects []*unstructured.Unstructured) []right {
	t.Helper()
	rules := map[string][]rbacv1.PolicyRule{}
	for _, o := range objects {
		role := rbacv1.ClusterRole{}
		if o.GetKind() != "Role" && o.GetKind() != "ClusterRole" {
			continue
		}
		noError(t, "read a role", runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role))
		rules[o.GetKind()+"/"+o.GetNamespace()+"/"+o.GetName()] = role.Rules
	}
	found := map[right]bool{}
	for _, o := range objects {
		binding := rbacv1.RoleBinding{}
		if o.GetKind() != "RoleBinding" && o.GetKind() != "ClusterRoleBinding" {
			continue
		}
		noError(t, "read a binding", runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &binding))
		for _, rule := range rules[binding.RoleRef.Kind+"/"+o.GetNamespace()+"/"+binding.RoleRef.Name] {
			addRights(found, rule, o.GetNamespace())
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b right) int { return strings.Compare(a.String(), b.String()) })
}

func addRights(to map[right]bool, rule rbacv1.PolicyRule, namespace string) {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, verb := range rule.Verbs {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, name := range names {
					to[right{verb: verb, group: group, resource: resource, namespace: namespace, name: name}] = true
				}
			}
		}
	}
}

// unusedRights are those that the suite does not need, and why they are given.
func unusedRights() map[string]string {
	return map[string]string{
		"patch events in meshwarden": "the Event of a change of leader that recurs is counted in the one that is there",
	}
}

// refusedRequests are those that Meshwarden makes although it does not have the right.
func refusedRequests() map[string]string {
	return map[string]string{
		"list configmaps in istio-system":  "it asks for all before it does with the one named istio: a component grants them",
		"watch configmaps in istio-system": "the same",
	}
}

// testRights compares what Meshwarden has asked for with what it may: each right is used, and nothing is refused.
func testRights(t *testing.T, e *environment, log auditLog) {
	rights := rightsOf(t, e.Objects())
	if len(rights) == 0 {
		t.Fatal("the manifests give no rights")
	}
	// The log tells of a request after its answer.
	e.eventually(t, "each right is either used by Meshwarden or excused in unusedRights", func(context.Context) error {
		asked, _ := log.requests(t)
		var wrong []string
		for _, r := range rights {
			used := slices.ContainsFunc(slices.Collect(maps.Keys(asked)), r.covers)
			if _, excused := unusedRights()[r.String()]; used == excused {
				wrong = append(wrong, fmt.Sprintf("%s: used %v, excused %v", r, used, excused))
			}
		}
		if len(wrong) > 0 {
			return errors.New(strings.Join(wrong, "; "))
		}
		return nil
	})
	_, refused := log.requests(t)
	for r := range refused {
		if _, known := refusedRequests()[r.String()]; !known {
			t.Errorf("Meshwarden asked for %s and was refused", r)
		}
	}
}
