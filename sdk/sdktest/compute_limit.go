package sdktest

import (
	"context"
	"strings"

	"github.com/instarhq/instar/sdk"
)

var computeLimits = []computeCheck{
	{"create/cancelled", "I4: a cancelled Create returns soon and can be repeated", func(c *computeRun) {
		spec := c.spec()
		ctx, cancel := context.WithCancel(c.Context())
		cancel()
		ended := make(chan error, 1)
		go func() {
			_, err := c.Driver.Create(ctx, spec)
			ended <- err
		}()
		awaitEnd(c, ended, "Create")
		if c.Failed() {
			return
		}
		// Whatever the cancelled call got to, the next one makes it whole.
		if i := c.create(spec); i.State != sdk.StateRunning {
			c.Errorf("Create after a cancelled one gives state %q, want running", i.State)
		}
		if _, ok := c.listed(spec.ID); !ok {
			c.Errorf("List does not have the instance")
		}
	}},
	{"env/any-text", "the environment may hold any text", func(c *computeRun) {
		spec := c.spec()
		spec.Env = map[string]string{
			"UNICODE": "żółć 日本語 🦀", "QUOTES": `"'\` + "`$(exit 1)", "LINES": "a\nb", "EMPTY": "",
			"LONG": strings.Repeat("x", 64<<10), "SELF": "${instance.id}", "LITERAL": "$${HOME}",
		}
		if i := c.create(spec); i.State != sdk.StateRunning {
			c.Errorf("state is %q, want running; exit %+v", i.State, i.Exit)
		}
	}},
	{"env/unknown-placeholder", "an unknown placeholder is InvalidConfig and leaves nothing", func(c *computeRun) {
		spec := c.spec()
		spec.Env = map[string]string{"BROKEN": "${port.no_such_port}"}
		_, err := c.Driver.Create(c.Context(), spec)
		wantCode(c, err, sdk.CodeInvalidConfig, "Create with an unknown placeholder")
		if _, ok := c.listed(spec.ID); ok {
			c.Errorf("List has the refused instance")
		}
	}},
	{"mount/stays-inside", "a mount's path never leaves the instance", func(c *computeRun) {
		c.needs(c.Mounts, "mounts")
		for _, path := range []string{"../outside", "/etc/outside", "a/../../outside", ""} {
			spec := c.spec()
			spec.Mounts = []sdk.Mount{{Path: path, Data: []byte("x")}}
			_, err := c.Driver.Create(c.Context(), spec)
			wantCode(c, err, sdk.CodeInvalidConfig, "Create with mount path %q", path)
		}
		spec := c.spec()
		spec.Mounts = []sdk.Mount{{Path: "etc/conformance/größe.conf", Data: []byte(strings.Repeat("y", 1<<20))}}
		if i := c.create(spec); i.State != sdk.StateRunning {
			c.Errorf("state is %q, want running; exit %+v", i.State, i.Exit)
		}
	}},
}
