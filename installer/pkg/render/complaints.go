package render

import (
	"os"
	"regexp"
	"strconv"
	"strings"

	"istio.io/istio/operator/pkg/apis/validation"
	"istio.io/istio/operator/pkg/render"
	"istio.io/istio/pkg/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// refused returns what Istio's renderer has against an IstioOperator, which the file holds. Where that is about keys and types of the values, Check says
// it better; Istio's validation is then asked again about the rest, which it has not looked at yet.
func refused(o *unstructured.Unstructured, file string, cluster kube.Client, err error) *InvalidError {
	spec, _ := o.Object["spec"].(map[string]any)
	values, _ := spec["values"].(map[string]any)
	faults, _, sound := check(spec)
	if len(faults) == 0 {
		found := complaints(file, cluster)
		if len(found) == 0 {
			found = []string{err.Error()} // of the charts
		}
		return &InvalidError{Err: placed(found, values)}
	}
	rest := o.DeepCopy()
	rest.Object["spec"] = sound
	restFile, err := write(rest)
	if err != nil {
		return &InvalidError{Err: faults} // which are enough to refuse it
	}
	defer func() { _ = os.Remove(restFile) }()
	return &InvalidError{Err: append(faults, placed(complaints(restFile, cluster), values)...)}
}

// placed returns complaints as faults, with a path where they name one.
func placed(complaints []string, values map[string]any) Faults {
	var faults Faults
	for _, c := range complaints {
		path, message := named(c, values)
		faults = append(faults, Fault{Path: path, Message: oneLine(message)})
	}
	return faults
}

// complaints returns what Istio's validation says of a spec, each complaint by itself: the renderer returns them in one text.
func complaints(file string, cluster kube.Client) (all []string) {
	defer func() {
		if recover() != nil {
			all = nil // see generate, which has turned the same panic into an error
		}
	}()
	merged, err := render.MergeInputs([]string{file}, nil, cluster)
	if err != nil {
		return nil
	}
	_, errs := validation.ParseAndValidateIstioOperator(merged, nil)
	for _, err := range errs {
		all = append(all, err.Error())
	}
	return all
}

// named looks in a complaint for the path of a value, as Istio's validation (global.proxy.includeIPRanges) and Helm (.Values.global.proxy.image) name it, and
// returns the path in the spec and what else is said. The path is empty where the spec has no such value: it is not at fault then, or a profile is.
func named(complaint string, values map[string]any) (path, rest string) {
	for _, word := range regexp.MustCompile(`\w[\w-]*(\.\w[\w-]*|\[\d+\])+`).FindAllString(complaint, -1) {
		bare := strings.TrimPrefix(word, "spec.")
		relative := strings.TrimPrefix(strings.TrimPrefix(bare, "values."), "Values.")
		found := existing(relative, values)
		// A word such as "global" may be English; one that says it is a value may end in a key that is not there.
		if found == "" || found != relative && relative == bare {
			continue
		}
		rest := strings.TrimLeft(strings.TrimPrefix(complaint, word), " :")
		return "spec.values." + found, rest
	}
	return "", complaint
}

// existing returns as much of a path as leads to something in the values.
func existing(path string, values map[string]any) string {
	var v any = values
	end := 0
	for _, step := range regexp.MustCompile(`[^.[\]]+`).FindAllStringIndex(path, -1) {
		key := path[step[0]:step[1]]
		var ok bool
		switch within := v.(type) {
		case map[string]any:
			v, ok = within[key]
		case []any:
			if i, err := strconv.Atoi(key); err == nil && i < len(within) {
				v, ok = within[i], true
			}
		}
		if !ok {
			break
		}
		end = step[1]
		if end < len(path) && path[end] == ']' {
			end++
		}
	}
	return path[:end]
}
