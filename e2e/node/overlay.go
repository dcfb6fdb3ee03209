package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// Variant is an instard whose sources differ in some files, so that the product needs no hook for a test.
type Variant struct {
	Bin     string            // the folder of the ordinary binaries, whose drivers it uses
	Out     string            // the folder to make
	Version string            // stamped into it; empty: dev
	Race    bool              // with the race detector
	Static  bool              // as the product is built
	Files   map[string][]byte // contents by path in the repository; a path that is not there is added
}

// BuildVariant builds a folder of binaries with another instard. The go command caches it as it does any
// build of these sources.
func BuildVariant(ctx context.Context, repository string, v Variant) error {
	if err := linkAll(v.Bin, v.Out); err != nil {
		return err
	}
	sources, err := os.MkdirTemp("", "instar-overlay-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(sources) }() // only sources that have been built
	replace := map[string]string{}
	for path, content := range v.Files {
		file := filepath.Join(sources, fmt.Sprint(len(replace), "-", filepath.Base(path)))
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return err
		}
		replace[filepath.Join(repository, path)] = file
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	overlay := filepath.Join(sources, "overlay.json")
	if err := os.WriteFile(overlay, data, 0o600); err != nil {
		return err
	}
	args := []string{"build", "-overlay", overlay, "-o", filepath.Join(v.Out, "instard")}
	if v.Race {
		args = append(args, "-race")
	}
	if v.Static {
		args = append(args, "-trimpath")
	}
	if v.Version != "" {
		args = append(args, "-ldflags", "-X main.version="+v.Version)
	}
	args = append(args, "./cmd/instard")
	if v.Static {
		return runGo(ctx, repository, []string{"CGO_ENABLED=0"}, args...)
	}
	return goTool(ctx, repository, args...)
}

// linkAll makes a folder with the binaries of another one, but for instard.
func linkAll(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil { //nolint:gosec // instances run as other users
		return err
	}
	for _, e := range entries {
		if e.Name() == "instard" {
			continue
		}
		if err := linkOrCopy(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// linkOrCopy copies only from one file system to another: the binaries are large.
func linkOrCopy(from, to string) error {
	if err := os.Link(from, to); !errors.Is(err, syscall.EXDEV) {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755) //nolint:gosec // a binary
}

// Substitute gives a source file of the repository with one place changed. It is an error if the expression
// does not match exactly once: the source has changed, and the test has to.
func Substitute(repository, path, expression, by string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(repository, path))
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, err
	}
	if n := len(re.FindAllIndex(data, -1)); n != 1 {
		return nil, fmt.Errorf("%s: %q matches %d times, not once", path, expression, n)
	}
	return re.ReplaceAll(data, []byte(by)), nil
}
