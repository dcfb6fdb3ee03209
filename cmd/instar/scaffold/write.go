package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/instarhq/instar/core"
)

//go:embed all:templates
var templates embed.FS

// suffix keeps the templates away from go's tools and from linters.
const suffix = ".tmpl"

// Write makes the module and returns its files, sorted, relative to the directory. If anything is wrong, nothing is
// left.
func Write(o Options) ([]string, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	files, err := render(o)
	if err != nil {
		return nil, err
	}
	made, err := takeDir(o.Dir)
	if err != nil {
		return nil, err
	}
	names, err := writeAll(o.Dir, files)
	if err != nil && made {
		err = errors.Join(err, os.Remove(o.Dir)) // nothing is in it
	}
	return names, err
}

// writeAll writes the files into a directory of its own, and then moves them to their place: if anything goes
// wrong, dir is as empty as it was.
func writeAll(dir string, files map[string][]byte) (names []string, err error) {
	temporary, err := os.MkdirTemp(dir, ".instar-new-")
	if err != nil {
		return nil, fmt.Errorf("driver's directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	top := map[string]bool{}
	for name, content := range files {
		names = append(names, name)
		first, _, _ := strings.Cut(name, "/")
		top[first] = true
		if err := write(filepath.Join(temporary, name), content); err != nil {
			return nil, fmt.Errorf("driver's directory: %w", err)
		}
	}
	slices.Sort(names)
	for name := range top {
		if err := os.Rename(filepath.Join(temporary, name), filepath.Join(dir, name)); err != nil {
			for name := range top {
				err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
			}
			return nil, fmt.Errorf("driver's directory: %w", err)
		}
	}
	return names, nil
}

// takeDir makes the directory, or takes one that is empty.
func takeDir(dir string) (made bool, err error) {
	err = os.Mkdir(dir, 0o755) //nolint:gosec // sources are for everybody, as git would make them
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return err == nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, fmt.Errorf("driver's directory: %w", err)
	}
	if len(entries) > 0 {
		return false, core.Errorf(core.CodeConflict, "%s is not empty", dir).WithHint("give another directory: -dir DIR")
	}
	return false, nil
}

// render fills in the templates of all kinds and of this one.
func render(o Options) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, root := range []string{"templates/common", "templates/" + string(o.Kind)} {
		err := fs.WalkDir(templates, root, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			content, err := fill(name, o)
			if err != nil {
				return err
			}
			files[target(strings.TrimPrefix(name, root+"/"))] = content
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("template of a %s driver: %w", o.Kind, err)
		}
	}
	return files, nil
}

// target is where a template goes. A leading _ stands for a dot, so that no tool takes the templates for its own
// configuration.
func target(name string) string {
	parts := strings.Split(strings.TrimSuffix(name, suffix), "/")
	for n, part := range parts {
		if rest, ok := strings.CutPrefix(part, "_"); ok {
			parts[n] = "." + rest
		}
	}
	return path.Join(parts...)
}

// fill replaces what is in [[ ]]: {{ }} belongs to goreleaser and GitHub.
func fill(name string, o Options) ([]byte, error) {
	text, err := fs.ReadFile(templates, name)
	if err != nil {
		return nil, err
	}
	t, err := template.New(path.Base(name)).Delims("[[", "]]").Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, o)
	return out.Bytes(), err
}

func write(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // sources are for everybody
		return err
	}
	mode := os.FileMode(0o644)
	if strings.HasSuffix(name, ".sh") {
		mode = 0o755
	}
	return os.WriteFile(name, content, mode)
}
