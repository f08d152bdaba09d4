package document

import (
	"strconv"
	"strings"
)

// place is where something is written: a key, or an item of a list. What an alias stands for is where its anchor is.
type place struct {
	line  int
	keys  map[string]place
	items []place
}

// find returns the place at a path such as ".pilot.tolerations[0].key". A key may itself have dots.
func (p place) find(path string) (place, bool) {
	if path == "" {
		return p, true
	}
	if number, rest, ok := strings.Cut(path, "]"); ok && path[0] == '[' {
		i, err := strconv.Atoi(number[1:])
		if err != nil || i < 0 || i >= len(p.items) {
			return place{}, false
		}
		return p.items[i].find(rest)
	}
	if path[0] != '.' {
		return place{}, false
	}
	path = path[1:]
	for end := range len(path) + 1 {
		if end < len(path) && path[end] != '.' && path[end] != '[' {
			continue
		}
		if inner, ok := p.keys[path[:end]]; ok {
			if found, ok := inner.find(path[end:]); ok {
				return found, true
			}
		}
	}
	return place{}, false
}

// FaultAt returns a fault of Values that somebody else has found, with its line and its path in the file. Path is that within Values, such as
// pilot.tolerations[0], or "" for all of them; ok is false where there is no such value.
func (d Document) FaultAt(path, message string) (f Fault, ok bool) {
	if path == "" {
		return Fault{Line: d.places.line, Path: d.valuesPath, Message: message}, d.Values != nil
	}
	at, ok := d.places.find("." + path)
	return Fault{Line: at.line, Path: join(d.valuesPath, path), Message: message}, ok
}
