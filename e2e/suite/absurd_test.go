package suite

import (
	"fmt"
	"strings"
	"testing"
)

// Objects that the schema lets pass but that nobody would write. Each is answered clearly, and the next one still is.
func TestAbsurdObjects(t *testing.T) {
	t.Parallel()
	e := start(t, setup{withoutRaceDetector: true}) // some are so large that their verdict takes a good part of its time
	e.namespace(t, "absurd")
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprintf("h%d.example.com", i)
	}
	e.mustApply(t, gateway("absurd", "gw", many...))
	e.mustApply(t, gateway("absurd", "any", "*"))
	const empty = `
apiVersion: networking.istio.io/v1
kind: %s
metadata: {namespace: absurd, name: %s}
`
	manyHosts := strings.Replace(virtualService("absurd", "v", "x", "gw"), `["x"]`, "["+quoted(many)+"]", 1)
	for _, tc := range []struct {
		name, reason, text string
		// rejected are parts of the rejection; none means that the object is let in.
		rejected []string
	}{
		{name: "NoSpecGateway", reason: "a Gateway without spec serves nothing, and nobody uses it", text: fmt.Sprintf(empty, "Gateway", "nothing")},
		{name: "NoSpecVirtualService", reason: "a VirtualService without hosts is a delegate", text: fmt.Sprintf(empty, "VirtualService", "nothing")},
		{name: "NoServers", reason: "an empty list is no list", text: fmt.Sprintf(empty, "Gateway", "none") + "spec: {servers: []}\n"},
		{name: "NoHosts", reason: "an empty list is no list", text: fmt.Sprintf(empty, "VirtualService", "none") + "spec: {hosts: [], gateways: [gw]}\n"},
		{name: "EmptyHost", reason: "an empty name is a host that nothing carries", text: virtualService("absurd", "v", "", "gw"), rejected: []string{"MW102", `host ""`}},
		{name: "AnyHost", reason: "* meets every host", text: virtualService("absurd", "v", "*", "gw")},
		{name: "Spaces", reason: "a name with spaces is a name; * carries it", text: virtualService("absurd", "v", "not a host", "any")},
		{name: "SpacesUnserved", reason: "and named as it is where nothing carries it", text: virtualService("absurd", "w", "not a.host", "gw"), rejected: []string{"MW102", `"not a.host"`}},
		{name: "ThreePartGateway", reason: "a name of three parts names nothing", text: virtualService("absurd", "w", "x.example.com", "a/b/c"), rejected: []string{"MW101", "a/b/c"}},
		{name: "EmptyGateway", reason: "an empty name names nothing", text: virtualService("absurd", "w", "x.example.com", ""), rejected: []string{"MW101", `gateway ""`}},
		{name: "PathGateway", reason: "a name is no path", text: virtualService("absurd", "w", "x.example.com", "../secrets"), rejected: []string{"MW101"}},
		{name: "ManyHosts", reason: "ten thousand hosts, all carried", text: manyHosts},
		{name: "ManyUnservedHosts", reason: "ten thousand hosts, none carried: twenty are named", text: strings.ReplaceAll(strings.Replace(manyHosts, "name: v", "name: w", 1), "example.com", "example.org"), rejected: []string{"MW102", "and 9980 more"}},
		{name: "ManyHostsOrphaned", reason: "ten thousand hosts lose their Gateway", text: gateway("absurd", "gw", "x.example.com"), rejected: []string{"MW207", "and 9980 more"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := e.apply(t.Context(), tc.text)
			if tc.rejected == nil {
				noError(t, tc.reason, err)
				return
			}
			wantError(t, tc.reason, err, tc.rejected...)
		})
	}
	if lines := e.log.find("panic"); len(lines) > 0 {
		t.Errorf("the log tells of a panic: %s", lines[0])
	}
}
