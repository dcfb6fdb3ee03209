package sdktest

import (
	"regexp"
	"strings"

	"github.com/instarhq/instar/sdk"
)

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

var computeArtifacts = []computeCheck{
	{"resolve/pins", "Resolve pins the artifact, the same each time", func(c *computeRun) {
		first, err := c.Driver.Resolve(c.Context(), c.Artifact)
		if err != nil {
			c.Fatalf("Resolve: %v", err)
		}
		if !digestPattern.MatchString(first.Digest) {
			c.Errorf("digest is %q, want sha256: and 64 hexadecimal digits", first.Digest)
		}
		if first.Source != c.Artifact.Source {
			c.Errorf("source became %q, want %q", first.Source, c.Artifact.Source)
		}
		second, err := c.Driver.Resolve(c.Context(), c.Artifact)
		if err != nil || second.Digest != first.Digest {
			c.Errorf("a second Resolve gives %q, %v; want %q", second.Digest, err, first.Digest)
		}
	}},
	{"resolve/wrong-checksum", "Resolve refuses a wrong checksum at artifact.checksum", func(c *computeRun) {
		a := c.Artifact
		a.Checksum = "sha256:" + strings.Repeat("0", 64)
		_, err := c.Driver.Resolve(c.Context(), a)
		wantInvalid(c, err, "artifact.checksum")
	}},
	{"resolve/missing-source", "a source that does not exist is NotFound", func(c *computeRun) {
		c.needs(c.Gone.Source != "", "Gone")
		_, err := c.Driver.Resolve(c.Context(), c.Gone)
		wantCode(c, err, sdk.CodeNotFound, "Resolve %q", c.Gone.Source)
	}},
	{"fetch/idempotent", "Fetch is idempotent and its progress only grows", func(c *computeRun) {
		a := c.pin()
		var last sdk.FetchProgress
		err := c.Driver.Fetch(c.Context(), a, func(p sdk.FetchProgress) {
			if p.Done < last.Done {
				c.Errorf("progress went back from %d to %d bytes", last.Done, p.Done)
			}
			last = p
		})
		if err != nil {
			c.Errorf("a second Fetch: %v", err)
		}
	}},
	{"prune/keeps-used", "Prune keeps what an instance uses", func(c *computeRun) {
		spec := c.spec()
		c.create(spec)
		if _, err := c.Driver.Prune(c.Context(), nil); err != nil {
			c.Fatalf("Prune: %v", err)
		}
		i, err := c.Driver.Inspect(c.Context(), spec.ID)
		if err != nil || i.State != sdk.StateRunning {
			c.Errorf("after Prune the instance is %q, %v; want running", i.State, err)
		}
		c.destroy(spec.ID)
		freed, err := c.Driver.Prune(c.Context(), nil)
		if err != nil || freed < 0 {
			c.Errorf("Prune freed %d bytes, %v", freed, err)
		}
		c.pinned = sdk.Artifact{}
		again := c.spec() // resolves and fetches afresh
		c.create(again)
	}},
}
