package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// object is an object of the input that counts for the verdicts.
type object struct {
	istio.Object
	ref policy.Ref
	// apiVersion is the version as written.
	apiVersion string
	file       string
	node       *yamlv3.Node
}

// judged says whether the rules judge the object, rather than read it for the sake of others.
func (o *object) judged() bool {
	return o.ref.Kind == policy.KindGateway || o.ref.Kind == policy.KindVirtualService
}

// place says where the object stands, for a message.
func (o *object) place() string {
	return fmt.Sprintf("%s:%d", fileName(o.file), o.node.Line)
}

// fault is the problem of the object that an error tells of, at the field which the error begins with.
func (o *object) fault(err error) Problem {
	path, _, _ := strings.Cut(err.Error(), ": ")
	return Problem{File: o.file, Line: lineOf(o.node, path), Message: fmt.Sprintf("%s cannot be judged: %s", o.ref, err)}
}

// candidate is an object of the input before it is known whether it counts.
type candidate struct {
	node *yamlv3.Node
	json func() (json.RawMessage, error)
	// kind and apiVersion are those of a list's items, for items that don't say.
	kind, apiVersion string
	// lists is how many lists it stands in.
	lists int
}

// listsAtMost is how deep lists may stand in lists. kubectl prints one.
const listsAtMost = 10

// document takes in a document of the file: an object, or a list of them.
func (l *loader) document(file string, d document) {
	limit := objectAtMost
	if kind := text(d.root, "kind"); strings.HasSuffix(kind, "List") {
		limit = listAtMost
	}
	if err := checkSize(d.root, limit); err != nil {
		l.problem(file, d.root.Line, err.Error())
		return
	}
	l.candidate(file, candidate{node: d.root, json: d.json})
}

func (l *loader) candidate(file string, c candidate) {
	n := resolve(c.node)
	if n.Kind != yamlv3.MappingNode {
		l.problem(file, c.node.Line, "this is no Kubernetes object: apiVersion and kind are missing")
		return
	}
	if c.kind = or(text(n, "kind"), c.kind); c.kind == "" {
		l.problem(file, n.Line, "the object has no kind")
		return
	}
	if c.apiVersion = or(text(n, "apiVersion"), c.apiVersion); c.apiVersion == "" {
		l.problem(file, n.Line, fmt.Sprintf("the %s has no apiVersion", c.kind))
		return
	}
	version, err := schema.ParseGroupVersion(c.apiVersion)
	if err != nil {
		l.problem(file, lineOf(n, "apiVersion"), err.Error())
		return
	}
	if _, items := field(n, "items"); strings.HasSuffix(c.kind, "List") && items != nil {
		l.items(file, c, resolve(items))
		return
	}
	kind, ok := istio.KindOf(version.WithKind(c.kind).GroupKind())
	_, metadata := field(n, "metadata")
	if !ok {
		l.others++
		l.noteMaker(c.kind, text(metadata, "namespace"))
		return
	}
	if versions := istioVersions(); version.Group == istio.GroupVersion().Group && !slices.Contains(versions, version.Version) {
		l.problem(file, lineOf(n, "apiVersion"), fmt.Sprintf("Istio has no %s %s: its versions are %s",
			c.kind, c.apiVersion, strings.Join(versions, ", ")))
		return
	}
	if kind == istio.KindConfigMap && !isMeshConfig(text(metadata, "name")) {
		l.others++
		return
	}
	l.object(file, kind, c)
}

func istioVersions() []string {
	return []string{"v1", "v1beta1", "v1alpha3"}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// items takes in the items of a list.
func (l *loader) items(file string, list candidate, items *yamlv3.Node) {
	if list.lists == listsAtMost {
		l.problem(file, list.node.Line, fmt.Sprintf("lists in lists, more than %d deep", listsAtMost))
		return
	}
	var values []json.RawMessage
	read := func() error {
		if values != nil {
			return nil
		}
		raw, err := list.json()
		if err != nil {
			return err
		}
		var parsed struct {
			Items []json.RawMessage `json:"items"`
		}
		err = utiljson.Unmarshal(raw, &parsed)
		values = parsed.Items
		return err
	}
	for i, item := range items.Content {
		c := candidate{node: item, lists: list.lists + 1}
		c.json = func() (json.RawMessage, error) {
			if err := read(); err != nil || i >= len(values) {
				return nil, errors.Join(err, errors.New("the list cannot be read"))
			}
			return values[i], nil
		}
		if list.kind != "List" {
			c.kind, c.apiVersion = strings.TrimSuffix(list.kind, "List"), list.apiVersion
		}
		l.candidate(file, c)
	}
}

// object takes in an object that counts.
func (l *loader) object(file string, kind policy.Kind, c candidate) {
	o := &object{apiVersion: c.apiVersion, file: file, node: c.node}
	n := resolve(c.node)
	if err := checkSize(n, objectAtMost); err != nil {
		l.problem(file, c.node.Line, err.Error())
		return
	}
	if again, first := duplicate(n); again != nil {
		l.problem(file, again.Line, fmt.Sprintf("the field %q is there already, on line %d: tools differ in which one they take", again.Value, first.Line))
	}
	raw, err := c.json()
	if key := oddKey(n); err != nil && key != nil {
		l.problem(file, key.Line, "a name of a field cannot be an object; this looks like a template: render it first, as with helm template")
		return
	}
	if err != nil {
		l.problem(file, c.node.Line, fmt.Sprintf("the %s cannot be read: %s", kind, err))
		return
	}
	o.Object, _ = istio.NewObject(kind)
	if err := utiljson.Unmarshal(raw, o.Object); err != nil {
		l.undecodable(o, kind, err)
		return
	}
	if o.GetName() == "" && o.GetGenerateName() == "" {
		l.problem(file, lineOf(n, "metadata"), fmt.Sprintf("the %s has no metadata.name", kind))
		return
	}
	if o.GetNamespace() == "" {
		o.SetNamespace(l.namespace)
	}
	if o.GetName() == "" {
		// Whatever the API server will make of it, no other object has this name.
		o.SetName(fmt.Sprintf("%s<%d>", o.GetGenerateName(), len(l.objects)))
	}
	o.ref = policy.Ref{Kind: kind, Key: policy.Key{Namespace: o.GetNamespace(), Name: o.GetName()}}
	if before := l.known[o.ref]; before != nil {
		l.repeated(o, before)
		return
	}
	l.known[o.ref] = o
	l.objects = append(l.objects, o)
}

// repeated reports an object that is there twice. Only of a judged one a verdict is missing.
func (l *loader) repeated(o, before *object) {
	p := Problem{File: o.file, Line: o.node.Line, Message: fmt.Sprintf("%s is there already, at %s, and only that one counts", o.ref, before.place())}
	if o.judged() {
		l.problems = append(l.problems, p)
	} else {
		l.notes = append(l.notes, p)
	}
}

// undecodable reports an object with a value in its metadata that cannot stand there.
func (l *loader) undecodable(o *object, kind policy.Kind, err error) {
	line := o.node.Line
	message := err.Error()
	if wrong := new(json.UnmarshalTypeError); errors.As(err, &wrong) {
		line = lineOf(o.node, wrong.Field)
		message = fmt.Sprintf("%s cannot be of type %s", wrong.Field, wrong.Value)
	}
	l.problem(o.file, line, fmt.Sprintf("the %s cannot be read: %s", kind, message))
}
