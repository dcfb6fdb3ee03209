package state

import (
	"encoding/json"
	"iter"

	"github.com/instarhq/instar/core"
)

// Reader is what tables read from: a View or a Tx.
type Reader interface{ objects() *objects }

// Index names a secondary index. Tables have those that their type's keys function fills.
type Index string

// The indexes.
const (
	ByService Index = "service" // instances, statuses, revisions, rollouts, routes, checks
	ByNode    Index = "node"    // instances, statuses, route statuses, drivers
	ByParent  Index = "parent"  // instance statuses by instance, route statuses by route, checks by rollout
)

// Table gives typed access to one kind of object.
type Table[T any] struct{ kind core.Kind }

// The tables.
var (
	Services         = Table[core.Service]{core.KindService}
	Revisions        = Table[core.Revision]{core.KindRevision}
	Configs          = Table[core.Config]{core.KindConfig}
	Instances        = Table[core.Instance]{core.KindInstance}
	InstanceStatuses = Table[core.InstanceStatus]{core.KindInstanceStatus}
	Rollouts         = Table[core.Rollout]{core.KindRollout}
	Routes           = Table[core.Route]{core.KindRoute}
	RouteStatuses    = Table[core.RouteStatus]{core.KindRouteStatus}
	Checks           = Table[core.Check]{core.KindCheck}
	Nodes            = Table[core.Node]{core.KindNode}
	Drivers          = Table[core.Driver]{core.KindDriver}
	Lineages         = Table[core.Lineage]{core.KindLineage}
	Clusters         = Table[core.Cluster]{core.KindCluster}
	Members          = Table[core.Member]{core.KindMember}
	NodeStatuses     = Table[core.NodeStatus]{core.KindNodeStatus}
	Leases           = Table[core.Lease]{core.KindLease}
	Tokens           = Table[core.Token]{core.KindToken}
	JoinTokens       = Table[core.JoinToken]{core.KindJoinToken}
	Checkpoints      = Table[core.Checkpoint]{core.KindCheckpoint}
	Schedules        = Table[core.Schedule]{core.KindSchedule}
	Recoveries       = Table[core.Recovery]{core.KindRecovery}
	Findings         = Table[core.Finding]{core.KindFinding}
)

// entry is one object. It never changes: a write makes another one.
type entry struct {
	id    string
	seq   uint64
	value any // T of the kind's table
	keys  keys
}

type keys struct{ service, node, parent string }

// Get returns the object with the given id.
func (t Table[T]) Get(r Reader, id string) (T, bool) {
	e := lookup(r, t.kind, id)
	if e == nil {
		var zero T
		return zero, false
	}
	return e.value.(T), true
}

// Find is Get with a CodeNotFound error for an object that does not exist.
func (t Table[T]) Find(r Reader, id string) (T, error) {
	v, ok := t.Get(r, id)
	if !ok {
		return v, core.Errorf(core.CodeNotFound, "%s %q does not exist", t.kind, id).WithObject(t.kind, id)
	}
	return v, nil
}

// Seq returns the sequence number of the record that wrote the object, 0 if it does not exist.
func (t Table[T]) Seq(r Reader, id string) uint64 {
	if e := lookup(r, t.kind, id); e != nil {
		return e.seq
	}
	return 0
}

// All yields every object, ordered by id.
func (t Table[T]) All(r Reader) iter.Seq2[string, T] { return t.Prefix(r, "") }

// Prefix yields every object whose id starts with prefix, ordered by id.
func (t Table[T]) Prefix(r Reader, prefix string) iter.Seq2[string, T] {
	return t.values(r, func(all *table) iter.Seq[*entry] { return all.prefixed(prefix) })
}

// By yields the objects whose index has the given key, ordered by id.
func (t Table[T]) By(r Reader, index Index, key string) iter.Seq2[string, T] {
	return t.values(r, func(all *table) iter.Seq[*entry] { return all.indexed(index, key) })
}

// values yields what there is when the iteration begins, whatever the loop's body writes.
func (t Table[T]) values(r Reader, choose func(*table) iter.Seq[*entry]) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for e := range choose(r.objects().readable(t.kind)) {
			if !yield(e.id, e.value.(T)) {
				return
			}
		}
	}
}

// Put writes an object in tx; reads through tx see it at once.
func (t Table[T]) Put(tx *Tx, id string, value T) { tx.put(t.kind, id, value) }

// Delete removes an object in tx. An object that does not exist is left alone.
func (t Table[T]) Delete(tx *Tx, id string) { tx.delete(t.kind, id) }

func lookup(r Reader, kind core.Kind, id string) *entry { return r.objects().get(kind, id) }

// decode makes an entry of a stored object.
func decode(kind core.Kind, id string, seq uint64, value []byte) (*entry, error) {
	d, ok := decoders[kind]
	if !ok {
		return nil, unknownKind(kind)
	}
	v, format, err := d(value)
	if err != nil {
		return nil, core.Errorf(core.CodeCorrupt, "%s %q does not decode: %w", kind, id, err).WithObject(kind, id)
	}
	if err := core.CheckFormat(kind, id, format); err != nil {
		return nil, err
	}
	return &entry{id: id, seq: seq, value: v, keys: keysOf(v)}, nil
}

func unknownKind(kind core.Kind) error {
	return core.Errorf(core.CodeUnsupported, "the store holds an object of unknown kind %q", kind).
		WithHint("run the version of instard that wrote it, or a newer one")
}

type decoder func([]byte) (value any, format int, err error)

func decodeAs[T any](format func(*T) int) decoder {
	return func(data []byte) (any, int, error) {
		var v T
		if err := json.Unmarshal(data, &v); err != nil {
			return nil, 0, err
		}
		n := format(&v)
		return v, n, nil
	}
}

var decoders = map[core.Kind]decoder{
	core.KindService:        decodeAs(func(v *core.Service) int { return v.Format }),
	core.KindRevision:       decodeAs(func(v *core.Revision) int { return v.Format }),
	core.KindConfig:         decodeAs(func(v *core.Config) int { return v.Format }),
	core.KindInstance:       decodeAs(func(v *core.Instance) int { return v.Format }),
	core.KindInstanceStatus: decodeAs(func(v *core.InstanceStatus) int { return v.Format }),
	core.KindRollout:        decodeAs(func(v *core.Rollout) int { return v.Format }),
	core.KindRoute:          decodeAs(func(v *core.Route) int { return v.Format }),
	core.KindRouteStatus:    decodeAs(func(v *core.RouteStatus) int { return v.Format }),
	core.KindCheck:          decodeAs(func(v *core.Check) int { return v.Format }),
	core.KindNode:           decodeAs(func(v *core.Node) int { return v.Format }),
	core.KindDriver:         decodeAs(func(v *core.Driver) int { return v.Format }),
	core.KindLineage:        decodeAs(func(v *core.Lineage) int { return v.Format }),
	core.KindCluster:        decodeAs(func(v *core.Cluster) int { return v.Format }),
	core.KindMember:         decodeAs(func(v *core.Member) int { return v.Format }),
	core.KindNodeStatus:     decodeAs(func(v *core.NodeStatus) int { return v.Format }),
	core.KindLease:          decodeAs(func(v *core.Lease) int { return v.Format }),
	core.KindToken:          decodeAs(func(v *core.Token) int { return v.Format }),
	core.KindJoinToken:      decodeAs(func(v *core.JoinToken) int { return v.Format }),
	core.KindCheckpoint:     decodeAs(func(v *core.Checkpoint) int { return v.Format }),
	core.KindSchedule:       decodeAs(func(v *core.Schedule) int { return v.Format }),
	core.KindRecovery:       decodeAs(func(v *core.Recovery) int { return v.Format }),
	core.KindFinding:        decodeAs(func(v *core.Finding) int { return v.Format }),
}

// keysOf fills the secondary indexes.
func keysOf(value any) keys {
	switch v := value.(type) {
	case core.Revision:
		return keys{service: v.Service}
	case core.Instance:
		return keys{service: v.Service, node: v.Node}
	case core.InstanceStatus:
		return keys{service: v.Service, node: v.Node, parent: v.ID}
	case core.Rollout:
		return keys{service: v.Service}
	case core.Route:
		return keys{service: v.Service}
	case core.RouteStatus:
		return keys{node: v.Node, parent: v.Route}
	case core.Check:
		return keys{service: v.Service, node: v.Node, parent: v.Rollout}
	case core.Driver:
		return keys{node: v.Node}
	case core.Lease:
		return keys{node: v.Node}
	case core.Finding:
		return keys{service: v.Service, node: v.Node}
	}
	return keys{}
}

// ServiceOf names the service that a write is about; empty if it is about none, or a delete whose
// object's kind does not say it in the id.
func ServiceOf(op *core.Op) string {
	if op.Kind == core.KindService {
		return op.ID
	}
	if op.Delete {
		return ""
	}
	e, err := decode(op.Kind, op.ID, 0, op.Value)
	if err != nil {
		return ""
	}
	return e.keys.service
}
