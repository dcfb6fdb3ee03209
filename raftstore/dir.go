package raftstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/core"
)

// What is in the data directory:
//
//	lock          held by the process that uses the directory
//	node.json     whose directory it is, and its format
//	state.db      the state machine, package fsm
//	raft/*.wal    Raft's log
//	raft/meta.json  which of these files are the log; Raft's term and vote
type dir struct {
	path string
	lock *os.File
}

const (
	nodeFile  = "node.json"
	stateFile = "state.db"
	raftDir   = "raft"
	lockFile  = "lock"
	metaFile  = "meta.json"
)

// dirFormat is the format number of the directory as a whole.
const dirFormat = 1

// nodeInfo is the content of node.json. Sum is over the file with an empty sum.
type nodeInfo struct {
	Format int    `json:"format"`
	Node   string `json:"node"`
	Sum    string `json:"sum"`
}

func (n nodeInfo) encode() ([]byte, error) {
	n.Sum = ""
	data, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	n.Sum = hex.EncodeToString(sum[:])
	data, err = json.Marshal(n)
	return append(data, '\n'), err
}

// openDir makes or checks the directory and takes its lock.
func openDir(path, node string) (*dir, error) {
	if err := os.MkdirAll(filepath.Join(path, raftDir), 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	d := &dir{path: path}
	lock, err := os.OpenFile(d.file(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	d.lock = lock
	if err := d.acquire(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := d.checkNode(node); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return d, nil
}

func (d *dir) acquire() error {
	err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return core.Errorf(core.CodeUnavailable, "data directory %s is in use by another process", d.path).
			WithHint("stop the other instard, or give this one a directory of its own")
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", d.file(lockFile), err)
	}
	return nil
}

func (d *dir) file(name string) string { return filepath.Join(d.path, name) }

func (d *dir) has(name string) bool {
	_, err := os.Stat(d.file(name))
	return err == nil
}

func (d *dir) close() error { return d.lock.Close() }

// checkNode reads node.json, or writes it into a directory that is empty.
func (d *dir) checkNode(node string) error {
	path := d.file(nodeFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if d.has(stateFile) || d.has(filepath.Join(raftDir, metaFile)) {
			return core.Errorf(core.CodeCorrupt, "%s is missing, but %s is not empty", path, d.path).WithHint(restoreHint)
		}
		return d.writeNode(nodeInfo{Format: dirFormat, Node: node})
	}
	if err != nil {
		return err
	}
	var info nodeInfo
	if err := json.Unmarshal(data, &info); err != nil {
		return core.Errorf(core.CodeCorrupt, "%s is damaged: %w", path, err).WithHint(restoreHint)
	}
	if info.Format > dirFormat {
		return core.Errorf(core.CodeUnsupported, "%s: the directory is in format %d, this instard reads format %d", path, info.Format, dirFormat).
			WithHint("run the version of instard that wrote it, or a newer one")
	}
	if want, err := info.encode(); err != nil || !bytes.Equal(data, want) {
		return core.Errorf(core.CodeCorrupt, "%s is damaged: its checksum is wrong", path).WithHint(restoreHint)
	}
	if info.Node != node {
		return core.Errorf(core.CodeInvalid, "%s belongs to node %q, not to %q", d.path, info.Node, node).
			WithHint("a node keeps its name; give a new node an empty directory")
	}
	return nil
}

func (d *dir) writeNode(info nodeInfo) error {
	data, err := info.encode()
	if err != nil {
		return err
	}
	return replaceFile(d.file(nodeFile), data)
}

// restoreHint is what to do about a damaged directory.
const restoreHint = "keep a copy of the data directory, then start with an empty one and restore a snapshot or, in a cluster, let the node join anew"
