package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
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
	url    string
	mu     sync.Mutex
	births []birth
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
	counts := map[string]int{}
	for _, b := range r.births {
		counts[b.Instance]++
	}
	return counts
}

// alive returns the instances whose process still exists, with its id.
func (r *register) alive() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[string]int{}
	for _, b := range r.births {
		if syscall.Kill(b.Pid, 0) == nil {
			found[b.Instance] = b.Pid
		}
	}
	return found
}
