package operator

import (
	"bytes"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		change func(*Options)
		want   []string
	}{
		"Defaults": {
			reason: "A namespace to watch is all that it has to be told.",
			change: func(o *Options) { o.WatchNamespaces = []string{"istio-system", "mesh-two"} },
		},
		"EveryFault": {
			reason: "All faults are told at once.",
			change: func(o *Options) {
				o.WatchNamespaces, o.Namespace = []string{"Istio_System"}, "-"
				o.HealthAddress, o.MetricsAddress = "8081", ":http-what"
				o.LogLevel, o.LogFormat = "loud", "xml"
			},
			want: []string{"--watch-namespaces: \"Istio_System\"", "--namespace", "--health-address", "--metrics-address", "--log-level", "debug, info, warn or error", "--log-format", "json or console"},
		},
		"NothingToWatch": {
			reason: "All namespaces would need rights to all; that it watches exactly those given is the contract.",
			change: func(*Options) {},
			want:   []string{"--watch-namespaces: name at least one"},
		},
		"Off": {
			reason: "Addresses may be turned off.",
			change: func(o *Options) {
				o.WatchNamespaces, o.HealthAddress, o.MetricsAddress = []string{"istio-system"}, "0", "0"
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := NewOptions()
			tc.change(o)
			_, err := o.validate()
			if (err != nil) != (len(tc.want) > 0) {
				t.Fatalf("%s: error %v", tc.reason, err)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %q is not in\n%v", tc.reason, part, err)
				}
			}
		})
	}
}

func TestHelp(t *testing.T) {
	c := NewCommand()
	out := &bytes.Buffer{}
	c.SetOut(out)
	c.SetArgs([]string{"--help"})
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, s := range NewOptions().sections() {
		if !strings.Contains(out.String(), "\n"+s.name+":\n") {
			t.Errorf("help has no section %s", s.name)
		}
	}
}
