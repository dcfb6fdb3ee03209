package raftstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft-wal/types"

	"github.com/instarhq/instar/core"
)

// logMeta is raft-wal's bookkeeping, and Raft's term and vote, in one small file that is replaced whole.
// raft-wal's own is a bbolt database without checksums, which a flipped bit can make crash, or say
// something else, before anybody could look at it. Both kinds of content change seldom: with a new file
// of the log, and with an election.
type logMeta struct {
	path string

	mu      sync.Mutex
	content metaContent
	begun   uint64 // see tailKey
}

var _ types.MetaStore = (*logMeta)(nil)

// metaContent is the file's JSON. Sum is over the JSON with an empty sum.
type metaContent struct {
	Format int                   `json:"format"`
	State  types.PersistentState `json:"state"`
	Stable map[string][]byte     `json:"stable"`
	Sum    string                `json:"sum"`
}

const metaFormat = 1

func (c metaContent) encode() ([]byte, error) {
	c.Sum = ""
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	c.Sum = hex.EncodeToString(sum[:])
	data, err = json.Marshal(c)
	return append(data, '\n'), err
}

// openLogMeta reads the file. It may be missing only where nothing has been written yet.
func openLogMeta(path string, fresh bool) (*logMeta, error) {
	m := &logMeta{path: path, content: metaContent{Format: metaFormat, Stable: map[string][]byte{}}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if logs, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*.wal")); len(logs) > 0 || !fresh {
			return nil, core.Errorf(core.CodeCorrupt, "%s is missing", path).WithHint(restoreHint)
		}
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &m.content); err != nil {
		return nil, core.Errorf(core.CodeCorrupt, "%s is damaged: %w", path, err).WithHint(restoreHint)
	}
	if m.content.Format > metaFormat {
		return nil, core.Errorf(core.CodeUnsupported, "%s is in format %d, this instard reads format %d", path, m.content.Format, metaFormat).
			WithHint("run the version of instard that wrote it, or a newer one")
	}
	if want, err := m.content.encode(); err != nil || !bytes.Equal(data, want) {
		return nil, core.Errorf(core.CodeCorrupt, "%s is damaged: its checksum is wrong", path).WithHint(restoreHint)
	}
	return m, nil
}

// Load implements types.MetaStore.
func (m *logMeta) Load(string) (types.PersistentState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.content.State, nil
}

// CommitState implements types.MetaStore.
func (m *logMeta) CommitState(state types.PersistentState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.content
	next.State = state
	return m.write(next)
}

// GetStable implements types.MetaStore.
func (m *logMeta) GetStable(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.content.Stable[string(key)]), nil
}

// SetStable implements types.MetaStore.
func (m *logMeta) SetStable(key, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := m.content
	next.Stable = maps.Clone(next.Stable)
	if value == nil {
		delete(next.Stable, string(key))
	} else {
		next.Stable[string(key)] = bytes.Clone(value)
	}
	return m.write(next)
}

// Close implements types.MetaStore.
func (m *logMeta) Close() error { return nil }

func (m *logMeta) write(next metaContent) error {
	data, err := next.encode()
	if err != nil {
		return err
	}
	if err := replaceFile(m.path, data); err != nil {
		return err
	}
	m.content = next
	return nil
}

// replaceFile puts data in path's place, whole and durably.
func replaceFile(path string, data []byte) error {
	temporary := path + ".new"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", temporary, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
