package spec

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
)

// Limits of what Load reads.
const (
	MaxFileBytes = 4 << 20  // one file
	MaxSetBytes  = 32 << 20 // all files of one set
)

// Stdin is the path that stands for standard input.
const Stdin = "-"

// Sources is a set of parsed HCL files. Its zero value holds none.
type Sources struct {
	order []source
	work  int64 // budget of one Evaluate
	files map[string]*hcl.File
}

// source is one file as it was read. Relative paths in it start at dir, which is absolute.
type source struct {
	name string // as the operator named it; what diagnostics show
	dir  string
	data []byte
}

// Load reads and parses files and directories as one set. Of a directory it takes the *.hcl files that
// it holds directly, sorted by name, except hidden ones; "-" is standard input. A file that is named
// twice is read once. The Sources are never nil, so that Format can show what the diagnostics are about.
func Load(paths []string) (*Sources, hcl.Diagnostics) {
	l := loader{stdin: os.Stdin, seen: map[string]bool{}, sources: &Sources{work: maxWork, files: map[string]*hcl.File{}}}
	if len(paths) == 0 {
		return l.sources, problem("No files", `Name at least one file or directory, or "-" for standard input.`)
	}
	var diags hcl.Diagnostics
	for _, path := range paths {
		diags = diags.Extend(l.load(path))
	}
	return l.sources, diags
}

// Files gives the parsed files by name, for Format.
func (s *Sources) Files() map[string]*hcl.File {
	if s == nil {
		return nil
	}
	return s.files
}

// Body gives the content of all files as one body, for callers with a structure of their own.
func (s *Sources) Body() hcl.Body {
	files := make([]*hcl.File, 0, len(s.order))
	for _, src := range s.order {
		files = append(files, s.files[src.name])
	}
	return hcl.MergeFiles(files)
}

// Dir gives the absolute directory in which relative paths of the named file start.
func (s *Sources) Dir(filename string) string {
	for _, src := range s.order {
		if src.name == filename {
			return src.dir
		}
	}
	return "."
}

type loader struct {
	stdin   io.Reader
	seen    map[string]bool // absolute paths
	total   int
	sources *Sources
}

func (l *loader) load(path string) hcl.Diagnostics {
	if path == Stdin {
		return l.loadStdin()
	}
	info, err := os.Stat(path)
	if err != nil {
		return readProblem(path, err)
	}
	if !info.IsDir() {
		return l.loadFile(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return readProblem(path, err)
	}
	var diags hcl.Diagnostics
	found := false
	for _, e := range entries { // sorted by name
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || filepath.Ext(e.Name()) != ".hcl" {
			continue
		}
		found = true
		diags = diags.Extend(l.loadFile(filepath.Join(path, e.Name())))
	}
	if !found {
		return problem("Nothing to load", fmt.Sprintf("The directory %s holds no *.hcl file.", path))
	}
	return diags
}

func (l *loader) loadStdin() hcl.Diagnostics {
	if l.seen[Stdin] {
		return nil
	}
	l.seen[Stdin] = true
	const name = "<stdin>"
	data, err := readLimited(l.stdin, MaxFileBytes)
	if err != nil {
		return readProblem(name, err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return readProblem(name, err)
	}
	return l.add(source{name: name, dir: dir, data: data})
}

func (l *loader) loadFile(path string) hcl.Diagnostics {
	abs, err := filepath.Abs(path)
	if err != nil {
		return readProblem(path, err)
	}
	if l.seen[abs] {
		return nil
	}
	l.seen[abs] = true
	data, err := readFile(path, MaxFileBytes)
	if err != nil {
		return readProblem(path, err)
	}
	return l.add(source{name: path, dir: filepath.Dir(abs), data: data})
}

func (l *loader) add(src source) hcl.Diagnostics {
	l.total += len(src.data)
	if l.total > MaxSetBytes {
		return problem("Too much to load", fmt.Sprintf("Up to %s the files have more than %s in all.", src.name, sizeText(MaxSetBytes)))
	}
	if at := invalidUTF8(src.data); at >= 0 {
		return problem("Not a text file", fmt.Sprintf("%s is not UTF-8 text: byte %d, on line %d, is part of no character.",
			src.name, at, 1+strings.Count(string(src.data[:at]), "\n")))
	}
	file, diags := Parse(src.data, src.name)
	l.sources.order = append(l.sources.order, src)
	l.sources.files[src.name] = file
	return diags
}

// invalidUTF8 returns the offset of the first byte that is no UTF-8, or -1.
func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return -1
}

func readProblem(path string, err error) hcl.Diagnostics {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		err = perr.Err // the path is named already
	}
	detail := fmt.Sprintf("%s: %s.", path, err)
	if errors.Is(err, fs.ErrNotExist) {
		detail = fmt.Sprintf("%s does not exist.", path)
	}
	return problem("Cannot read "+filepath.Base(path), detail)
}

// problem makes a diagnostic that is about no place in a file.
func problem(summary, detail string) hcl.Diagnostics {
	return hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: detail}}
}

// names lists the known names for a diagnostic: `"a", "b" and "c"`.
func names(known []string) string {
	known = slices.Sorted(slices.Values(known))
	for i, n := range known {
		known[i] = fmt.Sprintf("%q", n)
	}
	switch len(known) {
	case 0:
		return "none"
	case 1:
		return known[0]
	}
	return strings.Join(known[:len(known)-1], ", ") + " and " + known[len(known)-1]
}
