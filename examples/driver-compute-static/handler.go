package main

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/instarhq/instar/sdk"
)

// handler hands out mounted files first, and then those of the artifact.
func handler(files fs.FS, mounts []sdk.Mount, w workload) http.Handler {
	mounted := make(map[string][]byte, len(mounts))
	for _, m := range mounts {
		mounted[m.Path] = m.Data
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		for name, value := range w.Headers {
			rw.Header().Set(name, value)
		}
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		if info, err := fs.Stat(files, orDot(name)); err == nil && info.IsDir() {
			name = path.Join(name, w.Index)
		}
		if data, ok := mounted[name]; ok {
			http.ServeContent(rw, r, name, time.Time{}, bytes.NewReader(data))
			return
		}
		f, err := files.Open(orDot(name))
		if err != nil {
			http.NotFound(rw, r)
			return
		}
		defer func() { _ = f.Close() }() // read only
		content, ok := f.(io.ReadSeeker)
		if info, err := f.Stat(); err != nil || info.IsDir() || !ok {
			http.NotFound(rw, r)
			return
		}
		http.ServeContent(rw, r, name, time.Time{}, content)
	})
}

// orDot is how package fs calls the root.
func orDot(name string) string {
	if name == "" {
		return "."
	}
	return name
}
