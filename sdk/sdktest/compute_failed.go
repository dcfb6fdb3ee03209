package sdktest

import (
	"encoding/json"

	"github.com/instarhq/instar/sdk"
)

var computeFailed = []computeCheck{
	{"create/failed-leaves-nothing", "I4: a Create that fails is InvalidConfig or Unavailable and leaves nothing; its id can be tried again", func(c *computeRun) {
		c.needs(c.Fails != nil, "Fails")
		spec := c.spec()
		failing := spec
		failing.Config = c.Fails
		for range 2 {
			_, err := c.Driver.Create(c.Context(), failing)
			if code := sdk.CodeOf(err); code != sdk.CodeInvalidConfig && code != sdk.CodeUnavailable {
				c.Errorf("Create of what cannot start: %v (code %q), want code %q or %q", err, code, sdk.CodeInvalidConfig, sdk.CodeUnavailable)
			}
			c.nothingOf(spec.ID)
		}
		c.create(spec)
		c.running(spec.ID)
	}},
	{"secrets/instance", "what an instance is given never shows in errors, in what the driver says of it, or in its log", func(c *computeRun) {
		secret := newID("s3cret")
		spec := c.spec()
		spec.Env = map[string]string{"CONFORMANCE": secret}
		if c.Mounts {
			spec.Mounts = []sdk.Mount{{Path: "conformance/data.txt", Data: []byte(secret)}}
		}
		refused := spec
		refused.Config = withAttribute(c, spec.Config, "no_such_attribute", `1`)
		_, err := c.Driver.Create(c.Context(), refused)
		wantNoSecret(c, "the error of a refused Create", errorText(err), secret)
		if c.Fails != nil {
			refused.Config = c.Fails
			_, err = c.Driver.Create(c.Context(), refused)
			wantNoSecret(c, "the error of a failed Create", errorText(err), secret)
		}
		made := c.create(spec)
		other := spec
		other.Revision, other.RevisionDigest = 2, digest("revision 2")
		_, err = c.Driver.Create(c.Context(), other)
		wantNoSecret(c, "the error of a Create with another revision", errorText(err), secret)
		for what, i := range map[string]sdk.Instance{"Create": made, "Inspect": c.running(spec.ID)} {
			wantNoSecret(c, "the answer of "+what, plainText(c, i), secret)
		}
		c.destroy(spec.ID)
		c.wantNotLogged(c, secret)
	}},
	{"secrets/workload", "an error or log line of Create never repeats a sensitive value", func(c *computeRun) {
		secret := newID("s3cret")
		spec := c.spec()
		tried := checkSecrets(c, describe(c.Context(), c, c.Driver).Workload, spec.Config, secret, func(config json.RawMessage) error {
			refused := spec
			refused.Config = config
			_, err := c.Driver.Create(c.Context(), refused)
			return err
		})
		if tried == 0 {
			c.Skipf("not run: no attribute of the workload's schema is sensitive")
		}
		c.wantNotLogged(c, secret)
	}},
	{"destroy/leaves-no-data", "Destroy removes from the state directory what the instance was given", func(c *computeRun) {
		if c.Configure.StateDir == "" {
			c.Skipf("not run: the fixture has no state directory")
		}
		secret := newID("left-behind")
		spec := c.spec()
		spec.Env = map[string]string{"CONFORMANCE": secret}
		if c.Mounts {
			spec.Mounts = []sdk.Mount{{Path: "conformance/data.txt", Data: []byte(secret)}}
		}
		c.create(spec)
		c.destroy(spec.ID)
		for _, path := range filesWith(c, c.Configure.StateDir, secret) {
			c.Errorf("after Destroy, %s still holds what the instance was given", path)
		}
	}},
}
