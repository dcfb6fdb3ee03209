package artifact

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/instarhq/instar/plugins/durable"
)

// resolvedFor is how long a blob stays that nobody has fetched: whoever resolved it has not necessarily
// written down yet that it is wanted.
const resolvedFor = time.Hour

// Prune removes the artifacts whose digest is not in keep and of which no tree is in use (by Tree.Name),
// and trees that were changed and are not in use. It returns how many bytes that freed.
func (s *Store) Prune(keep, used []string) (freed int64, err error) {
	fetched := map[string]bool{} // digests that have or had a tree
	wanted, inUse := set(keep), set(used)
	stay := set(keep) // digests whose blob stays
	for _, name := range used {
		stay[digestOf(name)] = true
	}
	manifests, err := filepath.Glob(s.path("trees", "*.json"))
	if err != nil {
		return 0, err
	}
	for _, file := range manifests {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		digest := digestOf(name)
		fetched[digest] = true
		if inUse[name] || wanted[digest] && s.intact(name) {
			continue
		}
		n, err := s.removeTree(name)
		if freed += n; err != nil {
			return freed, err
		}
	}
	n, err := s.pruneBlobs(stay, fetched)
	return freed + n, err
}

func (s *Store) pruneBlobs(stay, fetched map[string]bool) (freed int64, err error) {
	blobs, err := os.ReadDir(s.path("blobs"))
	if err != nil {
		return 0, err
	}
	for _, entry := range blobs {
		digest := "sha256:" + entry.Name()
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) || stay[digest] {
			continue
		}
		if err != nil {
			return freed, err
		}
		if !fetched[digest] && time.Since(info.ModTime()) < resolvedFor {
			continue
		}
		if err := os.Remove(s.blob(digest)); err != nil {
			return freed, err
		}
		freed += info.Size()
	}
	return freed, nil
}

func set(names []string) map[string]bool {
	s := make(map[string]bool, len(names))
	for _, name := range names {
		s[name] = true
	}
	return s
}

func digestOf(tree string) string {
	hex, _, _ := strings.Cut(tree, ".")
	return "sha256:" + hex
}

func (s *Store) intact(name string) bool {
	m, err := s.readManifest(name)
	if err != nil {
		return false
	}
	sum, err := s.Sum(name)
	return err == nil && sum == m.Sum
}

// removeTree removes a tree and then its manifest, so that a crash in between leaves something to find.
func (s *Store) removeTree(name string) (int64, error) {
	m, err := s.readManifest(name)
	if err != nil {
		m = manifest{} // damaged: its size is not known
	}
	// Renamed first: a Tree call must not find half of it.
	gone := s.path("tmp", "pruned-"+name)
	err = os.Rename(s.path("trees", name), gone)
	if errors.Is(err, fs.ErrPermission) {
		// Without the privileges of root the right to write a directory is needed to move it.
		if err = os.Chmod(s.path("trees", name), 0o700); err == nil {
			err = os.Rename(s.path("trees", name), gone)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if err := errors.Join(durable.RemoveTree(gone), os.Remove(s.manifest(name))); err != nil {
		return 0, err
	}
	s.mu.Lock()
	delete(s.checked, name)
	s.mu.Unlock()
	return m.Bytes, nil
}
