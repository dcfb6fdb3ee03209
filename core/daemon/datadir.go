package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/audit"
	"github.com/instarhq/instar/core/driverhost/lockfile"
)

// What is in a data directory:
//
//	instard.lock   held by the daemon that uses the directory, with its pid
//	instar.sock    the API
//	node.json      what Teardown needs to know if nothing else can be read
//	signer.key     the key that signs checkpoints of the audit log, and its public half, signer.pub
//	drivers.json   the driver binaries that may be launched: those beside instard, and those that
//	               instard lock and instar driver install have accepted (-dev accepts new ones by itself);
//	               drivers.json.guard is held while it is changed
//	plugins/       where instar driver install puts binaries, if the configuration has no plugin_dirs
//	artifacts/     of a restored snapshot, until this node's drivers have them
//	drivers/       the driver host's: a directory for every target
//	store/         raftstore's: state, log
type dataDir struct {
	path string
	lock *os.File
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

// openDataDir takes the directory's lock. With create it makes both if needed; without, a directory that
// no daemon has used is fs.ErrNotExist.
func openDataDir(path string, create bool) (*dataDir, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("data directory: %w", err)
		}
	}
	d := &dataDir{path: path}
	lock, err := os.OpenFile(d.file("instard.lock"), flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(lock, 32)) // best effort: only the message is poorer without
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, core.Errorf(core.CodeUnavailable, "an instard with pid %s runs on %s already", orUnknown(string(holder)), path).
				WithHint("stop it first, or use another data directory")
		}
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if err := writeHolder(lock); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	d.lock = lock
	return d, nil
}

func writeHolder(lock *os.File) error {
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(lock, "%d\n", os.Getpid())
	return err
}

func orUnknown(pid string) string {
	if pid = strings.TrimSpace(pid); pid != "" {
		return pid
	}
	return "unknown"
}

// close gives the directory up. The file stays: removing it would let two daemons lock two files.
func (d *dataDir) close() error { return d.lock.Close() }

// nodeRecord is node.json.
type nodeRecord struct {
	Format     int            `json:"format"`
	Node       string         `json:"node"`
	Cluster    string         `json:"cluster"` // the id
	Generation uint64         `json:"generation"`
	PluginDirs []string       `json:"plugin_dirs"`
	Targets    []targetRecord `json:"targets"`
}

type targetRecord struct {
	Kind   core.DriverKind `json:"kind"`
	Driver string          `json:"driver"`
	Name   string          `json:"name"`
	Config json.RawMessage `json:"config,omitempty"`
}

const (
	nodeRecordFile = "node.json"
	lockFile       = lockfile.Name
)

func (d *dataDir) writeRecord(r *nodeRecord) error {
	r.Format = core.Format
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", nodeRecordFile, err)
	}
	return d.replace(nodeRecordFile, append(data, '\n'), 0o600)
}

// readRecord reads node.json; fs.ErrNotExist if no daemon ever got as far as starting drivers.
func (d *dataDir) readRecord() (*nodeRecord, error) {
	r := &nodeRecord{}
	data, err := os.ReadFile(d.file(nodeRecordFile))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, r); err != nil {
		return r, core.Errorf(core.CodeCorrupt, "%s does not decode: %w", d.file(nodeRecordFile), err)
	}
	if r.Format != core.Format {
		return r, core.Errorf(core.CodeUnsupported, "%s has format %d, this instard reads format %d", d.file(nodeRecordFile), r.Format, core.Format)
	}
	return r, nil
}

// signer reads the node's signing key, or makes it.
func (d *dataDir) signer(cluster, node string) (secret, public string, err error) {
	secretText, err := os.ReadFile(d.file("signer.key"))
	if errors.Is(err, fs.ErrNotExist) {
		secret, public, err = audit.NewKey(cluster + "/" + node)
		if err != nil {
			return "", "", err
		}
		// The public half first: a secret without it would never be completed.
		if err := d.replace("signer.pub", []byte(public+"\n"), 0o644); err != nil {
			return "", "", err
		}
		return secret, public, d.replace("signer.key", []byte(secret+"\n"), 0o600)
	}
	if err != nil {
		return "", "", fmt.Errorf("signing key: %w", err)
	}
	publicText, err := os.ReadFile(d.file("signer.pub"))
	if err != nil {
		return "", "", fmt.Errorf("signing key: %w", err)
	}
	return strings.TrimSpace(string(secretText)), strings.TrimSpace(string(publicText)), nil
}

// replace writes a file so that it is there whole or as before, whatever crashes.
func (d *dataDir) replace(name string, data []byte, mode os.FileMode) error {
	if err := replaceFile(d.file(name), data, mode); err != nil {
		return fmt.Errorf("write %s: %w", d.file(name), err)
	}
	return nil
}

func replaceFile(path string, data []byte, mode os.FileMode) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // gone already if all went well
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Chmod(mode), temp.Sync(), temp.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
