package place

import "github.com/instarhq/instar/core"

// Key names a compute target of a node.
type Key struct{ Node, Driver, Name string }

// String is "n1/local".
func (k Key) String() string { return k.Node + "/" + k.Name }

// Claim is what an instance takes, and whose it is.
type Claim struct {
	Key       Key
	Service   string
	Revision  int
	Resources core.Resources
}

// Ledger knows what every target has given away. Changing it costs the same however many instances
// there are. Not safe for concurrent use.
type Ledger struct {
	claims map[string]Claim
	used   map[Key]usage
	spread map[group]int
}

type usage struct {
	core.Resources
	instances int
}

// group is the instances of one revision on one node.
type group struct {
	node, service string
	revision      int
}

// NewLedger makes a ledger without claims.
func NewLedger() *Ledger {
	return &Ledger{claims: map[string]Claim{}, used: map[Key]usage{}, spread: map[group]int{}}
}

// Set records what instance id takes, in place of what it took before.
func (l *Ledger) Set(id string, c Claim) {
	l.Remove(id)
	l.claims[id] = c
	l.add(c, 1)
}

// Remove gives back what instance id took, if anything.
func (l *Ledger) Remove(id string) {
	c, ok := l.claims[id]
	if !ok {
		return
	}
	delete(l.claims, id)
	l.add(c, -1)
}

// Has reports whether instance id has a claim.
func (l *Ledger) Has(id string) bool { _, ok := l.claims[id]; return ok }

// Claim is what instance id takes.
func (l *Ledger) Claim(id string) (Claim, bool) { c, ok := l.claims[id]; return c, ok }

// Len is the number of claims.
func (l *Ledger) Len() int { return len(l.claims) }

func (l *Ledger) add(c Claim, sign int64) {
	u := l.used[c.Key]
	u.CPU += sign * c.Resources.CPU
	u.Memory += sign * c.Resources.Memory
	u.instances += int(sign)
	if u.instances == 0 {
		delete(l.used, c.Key)
	} else {
		l.used[c.Key] = u
	}
	g := group{c.Key.Node, c.Service, c.Revision}
	l.spread[g] += int(sign)
	if l.spread[g] == 0 {
		delete(l.spread, g)
	}
}
