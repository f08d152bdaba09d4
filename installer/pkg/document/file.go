package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// find looks for the application istio in all documents of a file.
func (r *reader) find(content []byte) Document {
	roots, readable := r.roots(content)
	var found []*yaml.Node
	var d Document
	last := &yaml.Node{Line: 1} // the document in which the application is missing, if it is
	var kinds, names []string
	for _, root := range roots {
		kind := kindOf(root)
		if kind != Kind {
			kinds = append(kinds, kind)
			continue
		}
		last = root
		for _, a := range r.applications(root) {
			if a.name != Application {
				names = append(names, a.name)
				continue
			}
			if found = append(found, a.node); len(found) > 1 {
				r.fault(a.node, a.path, "the application %s is described in line %d already", Application, found[0].Line)
			}
			d = r.application(a.node, a.path)
		}
	}
	switch {
	case len(found) > 0 || !readable:
	case len(kinds) == len(roots):
		r.fault(last, "", "no document of kind %s%s", Kind, instead(kinds))
	case len(r.faults) == 0:
		r.fault(last, "specification.applications", "no application named %s in the document of kind %s%s", Application, Kind, instead(names))
	}
	return d
}

// instead lists what was found in place of what was looked for.
func instead(found []string) string {
	if len(found) == 0 {
		return ""
	}
	const most = 10
	if more := len(found) - most; more > 0 {
		found = append(found[:most:most], fmt.Sprintf("%d more", more))
	}
	return "; found " + strings.Join(found, ", ")
}

// roots returns the content of each document that has any, and whether the file could be read to its end.
func (r *reader) roots(content []byte) (roots []*yaml.Node, readable bool) {
	for decoder := yaml.NewDecoder(bytes.NewReader(content)); ; {
		var n yaml.Node
		err := decoder.Decode(&n)
		if errors.Is(err, io.EOF) {
			return roots, true
		}
		if err != nil {
			r.syntax(content, err)
			return roots, false
		}
		if len(n.Content) > 0 && !isNull(n.Content[0]) {
			roots = append(roots, n.Content[0])
		}
	}
}

// syntax reports what the YAML parser stumbled over. It stops there, so that this is the last fault of a file.
func (r *reader) syntax(content []byte, err error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1 // the parser does not name the first one
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = strings.TrimPrefix(message, m[0])
	}
	var ellipsis, unknown int
	anchor := regexp.MustCompile(`^unknown anchor '(.*)' referenced`).FindStringSubmatch(message)
	for i, text := range strings.Split(string(content), "\n") {
		if unknown == 0 && anchor != nil && strings.Contains(text, "*"+anchor[1]) {
			unknown = i + 1
		}
		if ellipsis == 0 && strings.TrimSpace(text) == "..." {
			ellipsis = i + 1
		}
	}
	if unknown > 0 {
		line = unknown
	}
	if ellipsis > 0 {
		message += fmt.Sprintf(" (line %d has nothing but \"...\", which stands for other applications in the platform's documentation: remove it)", ellipsis)
	}
	r.faults = append(r.faults, Fault{Line: line, Message: "not YAML: " + message})
}

// kindOf returns what a document says of its kind, or says that it says nothing.
func kindOf(root *yaml.Node) string {
	if root.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(root.Content); i += 2 {
			if root.Content[i].Value == "kind" && root.Content[i+1].Kind == yaml.ScalarNode {
				return root.Content[i+1].Value
			}
		}
	}
	return "a document without a kind"
}

// candidate is one of a document's applications.
type candidate struct {
	name, path string
	node       *yaml.Node
}

// applications returns the applications of a document, and judges what is around them.
func (r *reader) applications(root *yaml.Node) []candidate {
	top := r.mapping(root, "", "kind", "version", "title", "provider", "name", "specification")
	for _, key := range []string{"version", "title", "provider", "name"} {
		if n := top[key]; n != nil && n.Kind != yaml.ScalarNode {
			r.wrongType(n, n, key, "a string")
		}
	}
	const path = "specification"
	if top[path] == nil {
		r.fault(root, path, "is missing")
		return nil
	}
	const listPath = path + ".applications"
	specification := r.mapping(top[path], path, "applications")
	if specification == nil {
		return nil
	}
	if specification["applications"] == nil {
		r.fault(top[path], listPath, "is missing")
		return nil
	}
	items, _ := r.list(specification["applications"], listPath)
	var all []candidate
	for i, item := range items {
		c := candidate{path: fmt.Sprintf("%s[%d]", listPath, i), node: item, name: r.nameOf(item)}
		n := r.follow(item, c.path)
		switch {
		case n == nil:
			return nil
		case n.Kind != yaml.MappingNode:
			r.wrongType(item, n, c.path, "a mapping")
		case c.name == "":
			r.fault(item, c.path+".name", "is missing: it says which application this is")
		default:
			all = append(all, c)
		}
	}
	return all
}

// nameOf returns the name of an application, which may come by "<<". Of an application that is not Istio, nothing else is read, and nothing judged.
func (r *reader) nameOf(n *yaml.Node) string {
	quiet := newReader("")
	quiet.budget = r.budget
	var name string
	quiet.text(quiet.mapping(n, "")["name"], "", &name)
	r.budget = quiet.budget
	return name
}
