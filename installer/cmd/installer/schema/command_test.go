package schema_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/installer/cmd/installer/schema"
	"github.com/meshwarden/meshwarden/installer/pkg/document"
)

func TestCommand(t *testing.T) {
	var out bytes.Buffer
	c := schema.NewCommand()
	c.SetOut(&out)
	c.SetArgs(nil)
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(document.Schema()), out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}
