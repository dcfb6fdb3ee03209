package cluster

import (
	"maps"
	"slices"
	"sync"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity"
	"github.com/instarhq/instar/core/state"
)

// Book is what a node knows of the others: where they are, and which certificates are out. It begins
// with what the record has, and follows the store from then on.
type Book struct {
	mu      sync.RWMutex
	address map[string]string
	revoked map[string]string // serial → whose it was
}

// NewBook makes a book of a record, which may be nil.
func NewBook(r *Record) *Book {
	b := &Book{address: map[string]string{}, revoked: map[string]string{}}
	if r != nil {
		maps.Copy(b.address, r.Peers)
	}
	return b
}

// Load adds what a record has.
func (b *Book) Load(r *Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.Copy(b.address, r.Peers)
}

// Resolve tells where a node is.
func (b *Book) Resolve(node string) (string, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	address, ok := b.address[node]
	return address, ok
}

// Check refuses a peer whose certificate has been revoked. One that the store does not know is newer than
// what this node has seen: a node that lags must be able to hear from a leader whose certificate was
// renewed meanwhile, and the CA signs none that is not in the store before it is handed out.
func (b *Book) Check(peer identity.Peer) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if node, out := b.revoked[peer.Serial]; out {
		return core.Errorf(core.CodeDenied, "certificate %s of node %q has been revoked", peer.Serial, node).
			WithHint("the node was removed from the cluster: to come back it joins again, with an empty data directory")
	}
	return nil
}

// Nodes are the names in the book, sorted.
func (b *Book) Nodes() []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Sorted(maps.Keys(b.address))
}

// Peers is the book as a record keeps it.
func (b *Book) Peers() map[string]string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return maps.Clone(b.address)
}

// update takes over what the store says, and tells what changed. A view without members says nothing.
func (b *Book) update(r state.Reader) (moved, revoked bool) {
	address, out := map[string]string{}, map[string]string{}
	for name, m := range state.Members.All(r) {
		if m.State != core.MemberRemoved {
			address[name] = m.Address
		}
		for _, c := range m.Certificates {
			if c.Revoked {
				out[c.Serial] = name
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(address) > 0 && !maps.Equal(address, b.address) {
		b.address, moved = address, true
	}
	for serial := range out {
		if _, known := b.revoked[serial]; !known {
			revoked = true
		}
	}
	b.revoked = out
	return moved, revoked
}
