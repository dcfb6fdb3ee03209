package wire_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// A driver that cannot export, as those made before it could be asked to, says so; also to one who sends a lot.
func TestArtifactsUnsupported(t *testing.T) {
	keeper := sdktest.ServeCompute(t, sdktest.NewNoopCompute(nil)).(sdk.ArtifactKeeper)
	var out bytes.Buffer
	if err := keeper.ExportArtifact(t.Context(), "sha256:1", &out); sdk.CodeOf(err) != sdk.CodeUnsupported || out.Len() > 0 {
		t.Errorf("ExportArtifact: %v, %d bytes", err, out.Len())
	}
	for name, data := range map[string]string{"nothing": "", "much": strings.Repeat("x", 8<<20)} {
		if err := keeper.ImportArtifact(t.Context(), "sha256:1", strings.NewReader(data)); sdk.CodeOf(err) != sdk.CodeUnsupported {
			t.Errorf("ImportArtifact of %s: %v", name, err)
		}
	}
}

// shelf is a keeper that holds one artifact.
type shelf struct {
	*sdktest.NoopCompute
	data []byte
	err  error // of the last import's reader
}

func (s *shelf) ExportArtifact(_ context.Context, digest string, w io.Writer) error {
	if digest == "broken" {
		_, err := w.Write(s.data)
		return errors.Join(err, sdk.Unavailable(0, "the disk is broken"))
	}
	_, err := w.Write(s.data)
	return err
}

func (s *shelf) ImportArtifact(_ context.Context, digest string, r io.Reader) error {
	if digest == "full" {
		return sdk.InvalidConfig("artifact.source", "it is too large") // before anything was read
	}
	s.data, s.err = io.ReadAll(r)
	return s.err
}

func TestArtifactsOverTheWire(t *testing.T) {
	held := &shelf{NoopCompute: sdktest.NewNoopCompute(nil)}
	keeper := sdktest.ServeCompute(t, held).(sdk.ArtifactKeeper)
	for _, size := range []int{0, 1, 256 << 10, 1<<20 + 1} {
		data := bytes.Repeat([]byte("a"), size)
		if err := keeper.ImportArtifact(t.Context(), "sha256:1", bytes.NewReader(data)); err != nil || !bytes.Equal(held.data, data) {
			t.Fatalf("import of %d bytes: %v, it got %d", size, err, len(held.data))
		}
		var out bytes.Buffer
		if err := keeper.ExportArtifact(t.Context(), "sha256:1", &out); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("export of %d bytes: %v, it gave %d", size, err, out.Len())
		}
	}
	if err := keeper.ExportArtifact(t.Context(), "broken", io.Discard); sdk.CodeOf(err) != sdk.CodeUnavailable {
		t.Errorf("an export that fails at its end: %v", err)
	}
	if err := keeper.ImportArtifact(t.Context(), "full", strings.NewReader(strings.Repeat("x", 8<<20))); sdk.CodeOf(err) != sdk.CodeInvalidConfig {
		t.Errorf("an import that is refused while it is sent: %v", err)
	}
	own := errors.New("the reader's own")
	err := keeper.ImportArtifact(t.Context(), "sha256:1", io.MultiReader(strings.NewReader("half"), failing{own}))
	if !errors.Is(err, own) {
		t.Errorf("a reader that fails: %v", err)
	}
	if err := keeper.ExportArtifact(t.Context(), "sha256:1", failing{own}); !errors.Is(err, own) {
		t.Errorf("a writer that fails: %v", err)
	}
}

// failing fails at everything.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }
