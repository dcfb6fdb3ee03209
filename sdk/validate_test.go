package sdk_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/instarhq/instar/sdk"
)

func TestCheckPools(t *testing.T) {
	one := sdk.Endpoint{ID: "a", Address: "127.0.0.1:80"}
	for name, c := range map[string]struct {
		pools []sdk.Pool
		want  string // part of the error; empty: none
	}{
		"none":             {nil, ""},
		"two revisions":    {[]sdk.Pool{{Revision: 1, Weight: 100, Endpoints: []sdk.Endpoint{one}}, {Revision: 2, Endpoints: []sdk.Endpoint{one}}}, ""},
		"IPv6":             {[]sdk.Pool{{Revision: 1, Endpoints: []sdk.Endpoint{{ID: "a", Address: "[::1]:80"}}}}, ""},
		"revision 0":       {[]sdk.Pool{{}}, "revisions begin with 1"},
		"one twice":        {[]sdk.Pool{{Revision: 3}, {Revision: 3}}, "revision 3 has more than one pool"},
		"negative weight":  {[]sdk.Pool{{Revision: 1, Weight: -1}}, "weight -1"},
		"too much weight":  {[]sdk.Pool{{Revision: 1, Weight: 1_000_001}}, "weight 1000001"},
		"endpoint twice":   {[]sdk.Pool{{Revision: 1, Endpoints: []sdk.Endpoint{one, one}}}, `"a" is not`},
		"no id":            {[]sdk.Pool{{Revision: 1, Endpoints: []sdk.Endpoint{{Address: one.Address}}}}, "an id of its own"},
		"no port":          {[]sdk.Pool{{Revision: 1, Endpoints: []sdk.Endpoint{{ID: "a", Address: "127.0.0.1"}}}}, "missing port"},
		"port 0":           {[]sdk.Pool{{Revision: 1, Endpoints: []sdk.Endpoint{{ID: "a", Address: "127.0.0.1:0"}}}}, "out of range"},
		"port with a name": {[]sdk.Pool{{Revision: 1, Endpoints: []sdk.Endpoint{{ID: "a", Address: "127.0.0.1:http"}}}}, "invalid syntax"},
	} {
		t.Run(name, func(t *testing.T) {
			err := sdk.CheckPools(c.pools)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var e *sdk.Error
			if !errors.As(err, &e) || e.Code != sdk.CodeInvalidConfig || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v; want InvalidConfig with %q", err, c.want)
			}
		})
	}
}
