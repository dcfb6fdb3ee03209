package control

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
	"sync"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/place"
	"github.com/instarhq/instar/core/state"
)

// places keeps the placement ledger up to date with the instances in the store, and with those that a
// worker is about to write.
type places struct {
	mu     sync.Mutex
	ledger *place.Ledger
	taken  map[string]struct{} // claims of instances that are not committed yet
}

func newPlaces() *places { return &places{ledger: place.NewLedger(), taken: map[string]struct{}{}} }

// load starts afresh from what view knows, and from the claims that are not committed yet.
func (p *places) load(view *state.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := place.NewLedger()
	for id := range p.taken {
		if c, ok := p.ledger.Claim(id); ok {
			fresh.Set(id, c)
		}
	}
	for id, inst := range state.Instances.All(view) {
		fresh.Set(id, claimOf(view, &inst))
	}
	p.ledger = fresh
}

// update takes over what view knows of an instance.
func (p *places) update(view *state.View, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if inst, ok := state.Instances.Get(view, id); ok {
		p.ledger.Set(id, claimOf(view, &inst))
		delete(p.taken, id)
	} else if _, mine := p.taken[id]; !mine {
		p.ledger.Remove(id)
	}
}

// take finds places and claims them under the ids that newID gives.
func (p *places) take(req place.Request, targets []place.Target, newID func() string) (ids []string, keys []place.Key, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys, why = p.ledger.Place(req, targets)
	for _, k := range keys {
		id := newID()
		for p.ledger.Has(id) {
			id = newID()
		}
		p.ledger.Set(id, place.Claim{Key: k, Service: req.Service, Revision: req.Revision, Resources: req.Resources})
		p.taken[id] = struct{}{}
		ids = append(ids, id)
	}
	return ids, keys, why
}

// keep leaves the claims of instances that have been committed to update.
func (p *places) keep(ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		delete(p.taken, id)
	}
}

// giveBack ends the claims of instances that were not written, or perhaps not: update finds those that were.
func (p *places) giveBack(ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		if _, mine := p.taken[id]; mine {
			p.ledger.Remove(id)
			delete(p.taken, id)
		}
	}
}

func claimOf(r state.Reader, inst *core.Instance) place.Claim {
	c := place.Claim{
		Key:     place.Key{Node: inst.Node, Driver: inst.Driver, Name: inst.Target},
		Service: inst.Service, Revision: inst.Revision,
	}
	if rev, ok := state.Revisions.Get(r, core.RevisionID(inst.Service, inst.Revision)); ok {
		c.Resources = rev.Spec.Resources
	}
	return c
}

// idText writes 40 random bits as 8 characters that are hard to confuse.
var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz")

// randomID makes an instance id. 40 bits are enough for "never twice": with a million instances that a
// service ever had, the next one's id was there before with a probability of one in a million, and then
// the driver refuses it.
func randomID(service string) string {
	var b [5]byte
	rand.Read(b[:]) // never fails
	return strings.Join([]string{service, idText.EncodeToString(b[:])}, "-")
}
