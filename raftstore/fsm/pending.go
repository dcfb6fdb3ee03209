package fsm

import (
	"slices"
	"sort"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// pending is what a row of records did that the file does not have yet. It only ever grows, and every
// part of it says to which record it belongs; so a reader that knows how far the log was when it began
// finds exactly that state in it, while Apply goes on. It is Apply's, until the flusher takes it over:
// then it does not change any more.
type pending struct {
	after uint64 // the record before the first of these

	mu       sync.RWMutex // Apply adds while others read
	records  [][]byte
	leaves   [][]byte                         // as in bucket tree
	objects  map[string]map[string]*versioned // by kind and id
	requests map[string]uint64                // record by request id; 0: forgotten
	bytes    int                              // of memory, about

	// Of the end, for the file. Changed under Machine.mu.
	position      Position
	identity      []byte // sealed; nil: the file has it
	configuration []byte // sealed; nil: the file has it
	dirty         bool   // there is something that the file does not have
}

// versioned is an object's versions in the order of the log.
type versioned struct{ versions []pointer }

// What a record, and an operation in it, take beside their bytes: estimates of the maps' and slices' part.
const (
	recordOverhead    = 300
	operationOverhead = 200
)

func newPending(position Position) *pending {
	return &pending{
		after: position.Seq, position: position,
		objects: make(map[string]map[string]*versioned), requests: make(map[string]uint64),
	}
}

// append adds a record with its tree nodes. Its operations follow.
func (p *pending) append(raw, hashes []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records = append(p.records, raw)
	p.leaves = append(p.leaves, hashes)
	p.bytes += len(raw) + len(hashes) + recordOverhead
}

// put adds an object's next version.
func (p *pending) put(kind, id []byte, next pointer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := p.objects[string(kind)]
	if ids == nil {
		ids = make(map[string]*versioned)
		p.objects[string(kind)] = ids
	}
	object := ids[string(id)]
	if object == nil {
		object = &versioned{}
		ids[string(id)] = object
	}
	object.versions = append(object.versions, next)
	p.bytes += len(id) + operationOverhead
}

// remember notes which record a request id has made; 0 forgets it.
func (p *pending) remember(id []byte, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests[string(id)] = seq
	p.bytes += len(id) + operationOverhead
}

// request finds a request id; false: it is not mentioned here.
func (p *pending) request(id []byte) (seq uint64, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	seq, ok = p.requests[string(id)]
	return seq, ok
}

// record gives record seq, and its tree nodes; nil if it is not one of these.
func (p *pending) record(seq uint64) (raw, hashes []byte) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if seq <= p.after || seq > p.after+uint64(len(p.records)) {
		return nil, nil
	}
	return p.records[seq-p.after-1], p.leaves[seq-p.after-1]
}

// version finds an object's newest version that is not newer than at; false: there is none here.
func (p *pending) version(kind, id string, at uint64) (pointer, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	object := p.objects[kind][id]
	if object == nil {
		return pointer{}, false
	}
	return object.at(at)
}

func (o *versioned) at(at uint64) (pointer, bool) {
	n := len(o.versions)
	if n > 0 && o.versions[n-1].seq > at {
		n = sort.Search(n, func(i int) bool { return o.versions[i].seq > at })
	}
	if n == 0 {
		return pointer{}, false
	}
	return o.versions[n-1], true
}

// collect adds to found the objects of a kind that begin with prefix, in their newest versions that are
// not newer than at, unless they are there already.
func (p *pending) collect(kind, prefix string, at uint64, found map[string]pointer) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for id, object := range p.objects[kind] {
		if len(id) < len(prefix) || id[:len(prefix)] != prefix {
			continue
		}
		if _, ok := found[id]; ok {
			continue
		}
		if version, ok := object.at(at); ok {
			found[id] = version
		}
	}
}

// write puts everything into a transaction of the file. Keys go in in order: bbolt moves what is behind
// a key in its page, and a page under work may hold thousands.
func (p *pending) write(tx *bolt.Tx) error {
	if err := p.writeRecords(tx); err != nil {
		return err
	}
	if err := p.writeObjects(tx); err != nil {
		return err
	}
	if err := p.writeRequests(tx.Bucket(bucketRequests)); err != nil {
		return err
	}
	state := tx.Bucket(bucketState)
	for key, value := range map[string][]byte{string(keyIdentity): p.identity, string(keyConfiguration): p.configuration} {
		if value == nil {
			continue
		}
		if err := state.Put([]byte(key), value); err != nil {
			return err
		}
	}
	return state.Put(keyPosition, p.position.encode())
}

// sequentialFill fills pages of buckets that only ever grow at their end.
const sequentialFill = 1.0

func (p *pending) writeRecords(tx *bolt.Tx) error {
	records, leaves := tx.Bucket(bucketRecords), tx.Bucket(bucketTree)
	records.FillPercent, leaves.FillPercent = sequentialFill, sequentialFill
	for i := range p.records {
		key := seqKey(p.after + 1 + uint64(i)) //nolint:gosec // an index
		if err := records.Put(key, p.records[i]); err != nil {
			return err
		}
		if err := leaves.Put(key, p.leaves[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *pending) writeObjects(tx *bolt.Tx) error {
	objects, history := tx.Bucket(bucketObjects), tx.Bucket(bucketHistory)
	for _, kind := range sortedKeys(p.objects) {
		ids := p.objects[kind]
		for _, id := range sortedKeys(ids) {
			key := objectKey(kind, id)
			versions := ids[id].versions
			for _, version := range versions {
				if err := history.Put(historyKey(slices.Clone(key), version.seq), version.history()); err != nil {
					return err
				}
			}
			newest := versions[len(versions)-1]
			var err error
			if newest.length == 0 {
				err = objects.Delete(key)
			} else {
				err = objects.Put(key, newest.object())
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pending) writeRequests(requests *bolt.Bucket) error {
	for _, id := range sortedKeys(p.requests) {
		var err error
		if seq := p.requests[id]; seq == 0 {
			err = requests.Delete([]byte(id))
		} else {
			err = requests.Put([]byte(id), seqKey(seq))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
