package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"
)

// birth is what an instance posts when it is made; see announce.
type birth struct {
	Instance, Revision string
	Pid                int
}

// register counts births: what really was made, whatever daemon and driver believe.
type register struct {
	url    string // where announce posts to, or the file that it writes to
	mu     sync.Mutex
	births []birth
}

// newFileRegister is for instances on hosts from which the test cannot be called.
func newFileRegister(t *testing.T, path string) *register {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // instances run as other users
		t.Fatal(err)
	}
	return &register{url: path}
}

// read takes what instances have written; r.mu must be held.
func (r *register) read() {
	data, err := os.ReadFile(r.url)
	if err != nil {
		return // it is the address of a server
	}
	r.births = nil
	for line := range bytes.Lines(data) {
		var b birth
		if json.Unmarshal(line, &b) == nil {
			r.births = append(r.births, b)
		}
	}
}

func newRegister(t *testing.T) *register {
	r := &register{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var b birth
		if err := json.NewDecoder(req.Body).Decode(&b); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		r.births = append(r.births, b)
		r.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// counts returns how often each instance was made.
func (r *register) counts() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read()
	counts := map[string]int{}
	for _, b := range r.births {
		counts[b.Instance]++
	}
	return counts
}

// revision is that of an instance; empty if it was never made.
func (r *register) revision(instance string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read()
	for _, b := range r.births {
		if b.Instance == instance {
			return b.Revision
		}
	}
	return ""
}

// alive returns the instances whose process still exists, with its id.
func (r *register) alive() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read()
	found := map[string]int{}
	for _, b := range r.births {
		if syscall.Kill(b.Pid, 0) == nil {
			found[b.Instance] = b.Pid
		}
	}
	return found
}
