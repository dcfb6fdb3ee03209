package process

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/instarhq/instar/sdk"
)

// inspector reads instances. It looks at each tree and program once, so that reading all instances costs
// as much for each as reading one.
type inspector struct {
	t     *target
	trees map[string]string
}

func newInspector(t *target) *inspector { return &inspector{t: t, trees: map[string]string{}} }

// look reads one instance as it is now.
func (v *inspector) look(i *instance) (sdk.Instance, error) {
	fingerprint, err := v.fingerprint(i)
	if err != nil {
		return sdk.Instance{}, err
	}
	state, exit := i.status()
	seen := i.describe()
	seen.State, seen.Exit, seen.Fingerprint = state, exit, fingerprint
	return seen, nil
}

// describe is what the record alone says.
func (i *instance) describe() sdk.Instance {
	r := i.rec
	seen := sdk.Instance{
		ID: r.ID, Cluster: r.Cluster, Generation: r.Generation, Service: r.Service, Revision: r.Revision,
		RevisionDigest: r.RevisionDigest, Created: r.Created,
	}
	if len(r.Ports) > 0 {
		seen.Addresses = make(map[string]string, len(r.Ports))
		for name, number := range r.Ports {
			seen.Addresses[name] = net.JoinHostPort(r.Address, strconv.Itoa(number))
		}
	}
	return seen
}

// fingerprint digests the record, and every way in which what is there differs from it. The command line
// is not read from /proc: servers overwrite it to show their state, and to run another program is any
// program's right.
func (v *inspector) fingerprint(i *instance) (string, error) {
	if i.rec.Found {
		return sdk.FingerprintLost, nil
	}
	record, err := json.Marshal(i.rec)
	if err != nil {
		return "", fmt.Errorf("encode the record of instance %s: %w", i.rec.ID, err)
	}
	h := sha256.New()
	h.Write(record)
	differences, err := v.differences(i)
	if err != nil {
		return "", fmt.Errorf("instance %s: %w", i.rec.ID, err)
	}
	for _, d := range differences {
		fmt.Fprintf(h, "\n%q", d)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

func (v *inspector) differences(i *instance) ([]string, error) {
	var found []string
	differ := func(what, want, got string) {
		if want != got {
			found = append(found, what+" is "+got)
		}
	}
	if i.rec.Tree != "" {
		sum, err := v.tree(i.rec.Tree)
		if err != nil {
			return nil, err
		}
		differ("artifact", i.rec.TreeSum, sum)
	}
	for _, m := range i.rec.Mounts {
		differ("mount "+m.Path, m.Sum, mountSum(i.root(), m))
	}
	if p := i.rec.Program; p != nil {
		differ("program", p.Sum, v.t.programs.sum(p.Path))
	}
	if state, _ := i.status(); state == sdk.StateRunning && i.group.Exists() {
		differ("limits", i.rec.Limits, i.group.Settings())
	}
	return found, nil
}

func (v *inspector) tree(name string) (string, error) {
	if sum, ok := v.trees[name]; ok {
		return sum, nil
	}
	sum, err := v.t.store.Sum(name)
	if err == nil {
		v.trees[name] = sum
	}
	return sum, err
}

// mountSum digests a mounted file as it is now; a word if it is not a file with the right mode any more.
func mountSum(root string, m mountRecord) string {
	// The instance may have put a link in the place of a directory; what it leads to is not the mount.
	dir, err := os.OpenRoot(root)
	if err != nil {
		return "unreadable"
	}
	defer func() { _ = dir.Close() }()
	info, err := dir.Lstat(m.Path)
	if err != nil || !info.Mode().IsRegular() || uint32(info.Mode().Perm()) != m.Mode {
		return "changed"
	}
	file, err := dir.OpenFile(m.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "unreadable"
	}
	defer func() { _ = file.Close() }()
	return readSum(file)
}

func readSum(r io.Reader) string {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "unreadable"
	}
	return hex.EncodeToString(h.Sum(nil))
}

// programs digests programs of the machine, reading each only when it has changed.
type programs struct {
	mu   sync.Mutex
	seen map[string]programSeen
}

type programSeen struct{ stat, sum string }

// sum digests the program at path, or is a word that says that it cannot be read.
func (p *programs) sum(path string) string {
	path, err := filepath.EvalSymlinks(path)
	if errors.Is(err, os.ErrNotExist) {
		return "missing"
	}
	if err != nil {
		return "unreadable"
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "unreadable"
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return "unreadable"
	}
	st := info.Sys().(*syscall.Stat_t)
	stat := fmt.Sprint(st.Dev, st.Ino, st.Size, st.Mode, st.Mtim, st.Ctim)
	p.mu.Lock()
	known := p.seen[path]
	p.mu.Unlock()
	if known.stat == stat {
		return known.sum
	}
	sum := readSum(file)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[path] = programSeen{stat: stat, sum: sum}
	return sum
}

// names lists what a person may have meant, for an error.
func names(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return "nothing"
	}
	var list []string
	for _, entry := range entries {
		if len(list) == 10 {
			list = append(list, "…")
			break
		}
		list = append(list, entry.Name())
	}
	return strings.Join(list, ", ")
}
