package sdktest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/instarhq/instar/sdk"
)

var computeKeep = []computeCheck{
	{"artifact/export-import", "an exported artifact can be imported and run without its source", func(c *computeRun) {
		keeper, pinned := c.keeper(), c.pin()
		data := c.export(keeper, pinned.Digest)
		if again := c.export(keeper, pinned.Digest); !bytes.Equal(data, again) {
			c.Errorf("a second export is another one: %d bytes, the first had %d", len(again), len(data))
		}
		c.forget()
		for range 2 { // idempotent
			if err := keeper.ImportArtifact(c.Context(), pinned.Digest, bytes.NewReader(data)); err != nil {
				c.Fatalf("ImportArtifact: %v", err)
			}
		}
		if pinned.Source = c.Gone.Source; pinned.Source == "" {
			pinned.Source = c.Artifact.Source + "-that-is-gone"
		}
		if err := c.Driver.Fetch(c.Context(), pinned, nil); err != nil {
			c.Fatalf("Fetch of an imported artifact whose source is gone: %v", err)
		}
		c.pinned = pinned
		if i := c.create(c.spec()); i.State != sdk.StateRunning {
			c.Errorf("an instance of an imported artifact is %s, want running", i.State)
		}
		if again := c.export(keeper, pinned.Digest); !bytes.Equal(data, again) {
			c.Errorf("the export of what was imported is another one")
		}
	}},
	{"artifact/export-missing", "an artifact that is not there is NotFound, before anything is written", func(c *computeRun) {
		var out bytes.Buffer
		err := c.keeper().ExportArtifact(c.Context(), digest("never resolved"), &out)
		wantCode(c, err, sdk.CodeNotFound, "ExportArtifact")
		if out.Len() > 0 {
			c.Errorf("%d bytes were written", out.Len())
		}
	}},
	{"artifact/import-wrong", "ImportArtifact refuses what is not the artifact with InvalidConfig, and keeps nothing of it", func(c *computeRun) {
		keeper, pinned := c.keeper(), c.pin()
		data := c.export(keeper, pinned.Digest)
		c.forget()
		changed := bytes.Clone(data)
		changed[len(changed)/2] ^= 1
		other := "sha256:" + strings.Repeat("0", 64)
		for what, try := range map[string]struct {
			digest string
			data   io.Reader
		}{
			"changed":           {pinned.Digest, bytes.NewReader(changed)},
			"cut off":           {pinned.Digest, bytes.NewReader(data[:len(data)/2])},
			"empty":             {pinned.Digest, bytes.NewReader(nil)},
			"of another digest": {other, bytes.NewReader(data)},
			"without a digest":  {"", bytes.NewReader(data)},
		} {
			err := keeper.ImportArtifact(c.Context(), try.digest, try.data)
			wantCode(c, err, sdk.CodeInvalidConfig, "an import that is %s", what)
		}
		half := io.MultiReader(bytes.NewReader(data[:len(data)/2]), broken{})
		if err := keeper.ImportArtifact(c.Context(), pinned.Digest, half); err == nil {
			c.Errorf("an import that is interrupted half way succeeds")
		}
		for _, digest := range []string{pinned.Digest, other} {
			err := keeper.ExportArtifact(c.Context(), digest, io.Discard)
			wantCode(c, err, sdk.CodeNotFound, "ExportArtifact after refused imports of %s", digest)
		}
	}},
}

// broken is a reader that fails.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the other side is gone") }

// keeper is the driver, if it declares that it is one.
func (c *computeRun) keeper() sdk.ArtifactKeeper {
	c.Helper()
	c.needsCapability(sdk.CapArtifacts)
	keeper, ok := c.Driver.(sdk.ArtifactKeeper)
	if !ok {
		c.Fatalf("the driver declares capability %q and is no sdk.ArtifactKeeper", sdk.CapArtifacts)
	}
	return keeper
}

func (c *computeRun) export(keeper sdk.ArtifactKeeper, digest string) []byte {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), c.patience())
	defer cancel()
	var out bytes.Buffer
	if err := keeper.ExportArtifact(ctx, digest, &out); err != nil {
		c.Fatalf("ExportArtifact: %v", err)
	}
	if out.Len() == 0 {
		c.Fatalf("ExportArtifact has written nothing")
	}
	return out.Bytes()
}

// forget makes the driver lose what was fetched.
func (c *computeRun) forget() {
	c.Helper()
	c.pinned = sdk.Artifact{}
	if _, err := c.Driver.Prune(c.Context(), nil); err != nil {
		c.Fatalf("Prune: %v", err)
	}
}
