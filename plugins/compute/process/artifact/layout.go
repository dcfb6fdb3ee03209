package artifact

import (
	"archive/tar"
	"path"
	"strings"
)

// maxLinks is how many symbolic links a path may pass through, as in the kernel.
const maxLinks = 40

// node is one entry of a tree as an archive announces it.
type node struct {
	kind   byte // tar.TypeReg, tar.TypeDir, tar.TypeSymlink or tar.TypeLink
	exec   bool // a file that somebody may execute
	size   int64
	target string // of a symbolic link: as written; of a hard link: a name in the tree
}

// layout is a tree in memory. Every entry is judged here before anything touches the disk, by names
// alone: what the disk would make of them cannot matter then.
type layout struct {
	limits Limits
	nodes  map[string]node // by clean relative name; the root is not in it
	bytes  int64
}

func newLayout(limits Limits) *layout {
	return &layout{limits: limits, nodes: map[string]node{}}
}

// add judges an entry. It returns an empty name for entries that make nothing: the root itself, and pax
// headers for the whole archive.
func (l *layout) add(h *tar.Header) (string, node, error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return "", node{}, nil
	}
	name, err := cleanName(h.Name)
	if err != nil || name == "." {
		return "", node{}, err
	}
	n, err := l.judge(h)
	if err != nil {
		return "", node{}, err
	}
	if old, twice := l.nodes[name]; twice && (old.kind != tar.TypeDir || n.kind != tar.TypeDir) {
		return "", node{}, refuse("entry %q is in the archive twice", h.Name)
	}
	if err := l.addParents(name); err != nil {
		return "", node{}, err
	}
	l.nodes[name] = n
	if len(l.nodes) > l.limits.Entries {
		return "", node{}, refuse("the archive has more than %d entries", l.limits.Entries)
	}
	if l.bytes += n.size; l.bytes > l.limits.Bytes {
		return "", node{}, refuse("the archive's files take more than %d bytes", l.limits.Bytes)
	}
	return name, n, nil
}

func (l *layout) judge(h *tar.Header) (node, error) {
	switch h.Typeflag {
	case tar.TypeDir:
		return node{kind: tar.TypeDir}, nil
	case tar.TypeReg, tar.TypeGNUSparse:
		if h.Size < 0 || h.Size > l.limits.Bytes {
			return node{}, refuse("entry %q has %d bytes; the limit is %d", h.Name, h.Size, l.limits.Bytes)
		}
		return node{kind: tar.TypeReg, exec: h.Mode&0o111 != 0, size: h.Size}, nil
	case tar.TypeSymlink:
		if h.Linkname == "" || path.IsAbs(h.Linkname) {
			return node{}, refuse("entry %q links to %q: links must be relative and stay in the tree", h.Name, h.Linkname)
		}
		return node{kind: tar.TypeSymlink, target: h.Linkname}, nil
	case tar.TypeLink:
		target, err := cleanName(h.Linkname)
		if err != nil {
			return node{}, err
		}
		if old := l.nodes[target]; old.kind != tar.TypeReg && old.kind != tar.TypeLink {
			return node{}, refuse("entry %q is a hard link to %q, which is no earlier file of the archive", h.Name, h.Linkname)
		}
		return node{kind: tar.TypeLink, target: target}, nil
	}
	return node{}, refuse("entry %q is a %s: only files, directories and links can be in an artifact", h.Name, typeName(h.Typeflag))
}

// addParents makes the directories above name part of the tree, whether or not the archive lists them.
func (l *layout) addParents(name string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		n, ok := l.nodes[dir]
		if ok && n.kind != tar.TypeDir {
			return refuse("entry %q is below %q, which is no directory", name, dir)
		}
		if ok {
			return nil // its own parents are there already
		}
		l.nodes[dir] = node{kind: tar.TypeDir}
	}
	return nil
}

// cleanName returns the normal form of an entry's name, and refuses one that is not inside the tree.
func cleanName(name string) (string, error) {
	if path.IsAbs(name) {
		return "", refuse("entry %q has an absolute name", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", refuse("entry %q leaves the tree", name)
		}
	}
	if strings.ContainsRune(name, 0) {
		return "", refuse("entry %q has a zero byte in its name", name)
	}
	return path.Clean(name), nil
}

// checkLinks refuses a tree with a symbolic link that leads out of it, also by way of other links. A link
// to something that is missing is allowed: it leads nowhere.
func (l *layout) checkLinks() error {
	for name, n := range l.nodes {
		if n.kind != tar.TypeSymlink {
			continue
		}
		budget := maxLinks
		if _, ok := l.resolve(name, &budget); !ok {
			return refuse("entry %q links to %q, which leads out of the tree or in a circle", name, n.target)
		}
	}
	return nil
}

// resolve follows name as the kernel would and returns where it ends, relative to the root; false if it
// leaves the root or follows too many links.
func (l *layout) resolve(name string, budget *int) (string, bool) {
	at := "."
	todo := strings.Split(name, "/")
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return "", false
			}
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		n, ok := l.nodes[next]
		if !ok || n.kind != tar.TypeSymlink {
			at = next
			continue
		}
		if *budget--; *budget < 0 {
			return "", false
		}
		todo = append(strings.Split(n.target, "/"), todo...)
	}
	return at, true
}

func typeName(flag byte) string {
	switch flag {
	case tar.TypeChar, tar.TypeBlock:
		return "device"
	case tar.TypeFifo:
		return "named pipe"
	}
	return "special entry of type " + string(rune(flag))
}
