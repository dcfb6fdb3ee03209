package sdktest

import (
	"errors"
	"slices"
	"strings"

	"github.com/instarhq/instar/sdk"
)

var computeValues = []computeCheck{
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
		var e *sdk.Error
		if errors.As(err, &e) && !strings.HasPrefix(e.Attribute, "env") {
			c.Errorf("the error %q is about attribute %q, want env.BROKEN", err, e.Attribute)
		}
		c.nothingOf(spec.ID)
	}},
	{"env/unchanged", "the instance gets its environment as it is, with placeholders replaced", func(c *computeRun) {
		c.needsShows()
		lines := []string{
			"żółć 日本語 🦀", `"'\` + "`$(exit 1) $HOME", "", "\ttabs\tand  spaces ", strings.Repeat("long", 8<<10),
		}
		spec := c.spec()
		spec.Config = c.Shows
		spec.Env = map[string]string{"CONFORMANCE": strings.Join(lines, "\n") + "\n${instance.id} $${HOME}"}
		c.create(spec)
		c.shows(spec.ID, append(lines, spec.ID+" ${HOME}"))
	}},
	{"mount/unchanged", "the instance gets mounted files as they are", func(c *computeRun) {
		c.needsShows()
		c.needs(c.Mounts, "mounts")
		lines := []string{"first", "żółć 日本語 🦀", "${instance.id} stays as it is", "", "the last"}
		spec := c.spec()
		spec.Config = c.Shows
		spec.Env = map[string]string{"CONFORMANCE": "first"}
		spec.Mounts = []sdk.Mount{{Path: "conformance/data.txt", Data: []byte(strings.Join(lines[1:], "\n") + "\n")}}
		c.create(spec)
		c.shows(spec.ID, lines)
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

func (c *computeRun) needsShows() {
	c.Helper()
	c.needs(c.Shows != nil, "Shows")
	c.needsCapability(sdk.CapLogs)
}

// shows wants an instance to write certain lines.
func (c *computeRun) shows(id string, want []string) {
	c.Helper()
	var got []string
	eventually(c, c.patience(), "the instance has written its lines", func() bool {
		got = c.output(id, "stdout")
		return len(got) >= len(want)
	})
	if slices.Equal(got, want) {
		return
	}
	for n := range want {
		if got[n] != want[n] {
			c.Errorf("line %d that the instance got is %.200q (%d bytes), want %.200q (%d bytes)", n+1, got[n], len(got[n]), want[n], len(want[n]))
		}
	}
	if len(got) > len(want) {
		c.Errorf("the instance got %d lines, want %d", len(got), len(want))
	}
}
