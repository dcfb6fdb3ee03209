package artifact

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// digests is what a survey finds out about a tree.
type digests struct {
	quick string // of what lstat says
	full  string // of names, modes, contents and targets
	bytes int64
}

// seen is what a survey of a changed tree found.
type seen struct{ quick, full string }

// Missing is the Sum of a tree that is not there.
const Missing = "missing"

// Sum digests what a tree holds now. While nothing about its files has changed by lstat this is one walk
// that reads no contents.
func (s *Store) Sum(name string) (string, error) {
	dir := s.path("trees", name)
	d, err := survey(dir, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return Missing, nil
	}
	if err != nil {
		return "", err
	}
	if m, err := s.readManifest(name); err == nil && m.Quick == d.quick {
		return m.Sum, nil
	}
	s.mu.Lock()
	known := s.checked[name]
	s.mu.Unlock()
	if known.quick == d.quick {
		return known.full, nil
	}
	if d, err = survey(dir, func(file string) (string, error) { return fileSum(filepath.Join(dir, file)) }); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return Missing, nil
		}
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checked[name] = seen{quick: d.quick, full: d.full}
	return d.full, nil
}

// survey walks a tree. contents gives the digest of a file; nil: only quick and bytes are wanted.
func survey(dir string, contents func(name string) (string, error)) (digests, error) {
	quick, full := sha256.New(), sha256.New()
	var bytes int64
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		note(quick, name, info)
		if info.Mode().IsRegular() {
			bytes += info.Size()
		}
		if contents == nil {
			return nil
		}
		what := ""
		switch {
		case info.Mode().IsRegular():
			what, err = contents(name)
		case info.Mode()&fs.ModeSymlink != 0:
			what, err = os.Readlink(path)
		}
		fmt.Fprintf(full, "%q %s %q\n", name, info.Mode(), what)
		return err
	})
	if err != nil {
		return digests{}, err
	}
	return digests{quick: fmt.Sprintf("%x", quick.Sum(nil)), full: fmt.Sprintf("%x", full.Sum(nil)), bytes: bytes}, nil
}

func note(h hash.Hash, name string, info fs.FileInfo) {
	st := info.Sys().(*syscall.Stat_t)
	size := st.Size
	if info.IsDir() {
		size = 0 // what it means differs between file systems
	}
	fmt.Fprintf(h, "%q %o %d %d %d %d.%d %d.%d\n", name, st.Mode, st.Uid, size, st.Ino,
		st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec)
}

func fileSum(path string) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }()
	sum := newSum()
	if _, err := io.Copy(sum, in); err != nil {
		return "", err
	}
	return sum.digest(), nil
}
