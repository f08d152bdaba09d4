package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Shrink returns a world that is as small as it gets while fails holds for it: it leaves out objects, servers, hosts,
// routes, matches and fields, one at a time and from the largest part to the smallest, until each one that is left counts.
func Shrink(w *World, fails func(*World) bool) *World {
	for {
		smaller, ok := shrinkOnce(w, fails)
		if !ok {
			return w
		}
		w = smaller
	}
}

// shrinkOnce goes through the world once and keeps each cut after which it still fails.
func shrinkOnce(w *World, fails func(*World) bool) (*World, bool) {
	tree := treeOf(w)
	shrunk := false
	for _, cut := range cuts(tree, nil) {
		before := copyTree(tree)
		if !cut.apply(tree) {
			continue
		}
		smaller, err := worldOf(tree)
		// What an object has even when it is empty comes back, and its place is no smaller for that.
		if err != nil || reflect.DeepEqual(treeOf(smaller), treeOf(w)) || !complete(smaller) || !fails(smaller) {
			tree = before
			continue
		}
		w, shrunk = smaller, true
	}
	return w, shrunk
}

// cut is a place in the tree of a world that may be left out. Elements of lists are cut from the last to the first, so that
// the places of those before stay what they are.
type cut []any

// needed are the fields without which an object is none, or which only another one makes sense of.
func needed(field string) bool {
	return slices.Contains([]string{
		"apiVersion", "kind", "metadata", "name", "namespace", "spec", "port", "number", "protocol", "token", "settings",
		"servers", "hosts", "destination", "host", "sniHosts",
	}, field)
}

// cuts lists the places, the outer before the inner ones.
func cuts(node any, path []any) []cut {
	var here, inside []cut
	switch node := node.(type) {
	case map[string]any:
		for _, field := range slices.Sorted(maps.Keys(node)) {
			p := append(slices.Clone(path), field)
			if !needed(field) {
				here = append(here, p)
			}
			inside = append(inside, cuts(node[field], p)...)
		}
	case []any:
		for i := len(node) - 1; i >= 0; i-- {
			p := append(slices.Clone(path), i)
			here = append(here, p)
			inside = append(inside, cuts(node[i], p)...)
		}
	}
	return append(here, inside...)
}

// apply leaves the place out, and says whether it was there: an earlier cut may have taken it.
func (c cut) apply(tree any) bool {
	holder, ok := walk(tree, c[:len(c)-1])
	if !ok {
		return false
	}
	switch at := c[len(c)-1].(type) {
	case string:
		m, ok := holder.(map[string]any)
		if !ok {
			return false
		}
		_, ok = m[at]
		delete(m, at)
		return ok
	case int:
		list, ok := holder.([]any)
		if !ok || at >= len(list) {
			return false
		}
		return replace(tree, c[:len(c)-1], slices.Delete(slices.Clone(list), at, at+1))
	}
	return false
}

func walk(node any, path []any) (any, bool) {
	for _, p := range path {
		switch at := p.(type) {
		case string:
			m, ok := node.(map[string]any)
			if !ok {
				return nil, false
			}
			if node, ok = m[at]; !ok {
				return nil, false
			}
		case int:
			list, ok := node.([]any)
			if !ok || at >= len(list) {
				return nil, false
			}
			node = list[at]
		}
	}
	return node, true
}

func replace(tree any, path []any, value any) bool {
	holder, ok := walk(tree, path[:len(path)-1])
	if !ok {
		return false
	}
	switch at := path[len(path)-1].(type) {
	case string:
		holder.(map[string]any)[at] = value
	case int:
		holder.([]any)[at] = value
	}
	return true
}

// complete says whether each list is there that Istio cannot do without.
func complete(w *World) bool {
	for _, g := range w.Gateways {
		for _, s := range g.Spec.GetServers() {
			if len(s.GetHosts()) == 0 || s.GetPort() == nil {
				return false
			}
		}
		if len(g.Spec.GetServers()) == 0 {
			return false
		}
	}
	for _, v := range w.VirtualServices {
		for _, t := range v.Spec.GetTls() {
			for _, m := range t.GetMatch() {
				if len(m.GetSniHosts()) == 0 {
					return false
				}
			}
		}
		if len(v.Spec.GetHosts()) == 0 {
			return false
		}
	}
	return true
}

func treeOf(w *World) any {
	text, err := json.Marshal(w)
	if err != nil {
		panic(fmt.Sprintf("cannot write a world: %v", err))
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		panic(fmt.Sprintf("cannot read what was written: %v", err))
	}
	return tree
}

func worldOf(tree any) (*World, error) {
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("cannot write a tree: %w", err)
	}
	return decodeWorld(text)
}

func copyTree(node any) any {
	switch node := node.(type) {
	case map[string]any:
		c := make(map[string]any, len(node))
		for k, v := range node {
			c[k] = copyTree(v)
		}
		return c
	case []any:
		c := make([]any, len(node))
		for i, v := range node {
			c[i] = copyTree(v)
		}
		return c
	}
	return node
}

// Fixture writes the world as a fixture with the lines as its header and the submitted object, which is one of the world's,
// last.
func (w *World) Fixture(header []string, submitted any) (string, error) {
	var documents []string
	stored := slices.DeleteFunc(w.Objects(), func(o any) bool { return o == submitted })
	for _, o := range append(stored, submitted) {
		text, err := document(o)
		if err != nil {
			return "", err
		}
		documents = append(documents, text)
	}
	var b strings.Builder
	for _, line := range header {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	b.WriteString(strings.Join(documents, "---\n"))
	return strings.ReplaceAll(b.String(), string(w.Token), ""), nil
}

// document writes an object without the empty fields that its Go type has and nobody would write.
func document(o any) (string, error) {
	raw, err := json.Marshal(o)
	if err != nil {
		return "", fmt.Errorf("cannot write an object: %w", err)
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return "", fmt.Errorf("cannot read what was written: %w", err)
	}
	delete(tree, "status")
	prune(tree)
	text, err := yaml.Marshal(tree)
	if err != nil {
		return "", fmt.Errorf("cannot write an object: %w", err)
	}
	return string(text), nil
}

func prune(node any) {
	switch node := node.(type) {
	case map[string]any:
		for field, v := range node {
			empty, ok := v.(map[string]any)
			if v == nil || ok && len(empty) == 0 && slices.Contains([]string{"resources", "strategy", "updateStrategy"}, field) {
				delete(node, field)
				continue
			}
			prune(v)
		}
	case []any:
		for _, v := range node {
			prune(v)
		}
	}
}

// WriteFixture writes the text to the path, whose folder is made where it is missing.
func WriteFixture(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot write a fixture: %w", err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("cannot write a fixture: %w", err)
	}
	return nil
}
