package haproxy

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/plugins/traffic/haproxy/layout"
	"github.com/instarhq/instar/plugins/traffic/haproxy/socket"
	"github.com/instarhq/instar/sdk"
)

// writeFiles makes both generated files those of a state: what HAProxy begins with, whoever starts it.
func (t *target) writeFiles(state layout.State) error {
	if err := t.writeMap(state.Entries()); err != nil {
		return err
	}
	return t.writeConfig(t.render(state))
}

func (t *target) writeMap(entries []socket.Entry) error {
	return t.write(layout.MapFile, layout.MapText(entries))
}

func (t *target) writeConfig(r layout.Rendering) error { return t.write(layout.ConfigFile, r.Text) }

// write replaces a file of the directory if its content is another. HAProxy reads them as root, mostly;
// nothing in them is secret.
func (t *target) write(name string, text []byte) error {
	path := filepath.Join(t.settings.Directory, name)
	have, err := os.ReadFile(path)
	if err == nil && bytes.Equal(have, text) {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(t.settings.Directory, 0o755); err != nil {
			return sdk.Unavailable(time.Second, "the directory for HAProxy's generated configuration cannot be made: %w", err)
		}
	}
	if err := layout.WriteFile(path, text, 0o644); err != nil {
		return sdk.Unavailable(time.Second, "HAProxy's generated configuration cannot be written: %w", err)
	}
	return nil
}
