package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/identity/keyfile"
)

// What membership keeps in a node's data directory:
//
//	cluster.json   the Record
//	identity/      the keeper's: key, certificate, the CA's certificates
//	identity/ca.pem  the CA with its key, on voters
const (
	recordFile  = "cluster.json"
	identityDir = "identity"
	caFile      = "ca.pem"
)

// IdentityDir is where a node's keeper works.
func IdentityDir(dataDir string) string { return filepath.Join(dataDir, identityDir) }

// Phase says how far a node's membership has come.
type Phase string

// The phases of a node.
const (
	PhaseFounding  Phase = "founding"  // begins a cluster, or turns its own store into one
	PhaseMember    Phase = "member"    // of the cluster
	PhaseRecovered Phase = "recovered" // has restored a snapshot, and has to put the members out that it names
	PhaseLeft      Phase = "left"      // for good: the directory is of no use any more
)

// Record is what a node must know of its membership before its store has said anything.
type Record struct {
	Format int       `json:"format"`
	Phase  Phase     `json:"phase"`
	Node   string    `json:"node"`
	Name   string    `json:"name"` // of the cluster
	ID     string    `json:"id,omitempty"`
	Role   core.Role `json:"role,omitempty"`
	// Peers are where the members were last, by name. The store knows better once it has caught up.
	Peers map[string]string `json:"peers,omitempty"`
}

// LoadRecord reads a data directory's record; nil if there is none: the node is no member of anything.
func LoadRecord(dataDir string) (*Record, error) {
	path := filepath.Join(dataDir, recordFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("membership: %w", err)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, core.Errorf(core.CodeCorrupt, "%s does not decode: %w", path, err).
			WithHint("restore it, or let the node join again with an empty directory after instar cluster remove")
	}
	if r.Format != core.Format {
		return nil, core.Errorf(core.CodeUnsupported, "%s has format %d, this instard reads format %d", path, r.Format, core.Format).
			WithHint("run the version of instard that wrote it, or a newer one")
	}
	return &r, nil
}

// Save writes the record, whole or not at all.
func (r *Record) Save(dataDir string) error {
	r.Format = core.Format
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("membership: %w", err)
	}
	return keyfile.Write(filepath.Join(dataDir, recordFile), append(data, '\n'), keyfile.Secret)
}

// Check refuses a record that does not fit the node's configuration.
func (r *Record) Check(node, name string) error {
	if r.Phase == PhaseLeft {
		return core.Errorf(core.CodeConflict, "node %q has left the cluster %q for good", r.Node, r.Name).
			WithHint("to use the machine again, give it an empty data directory and join")
	}
	if r.Node != node {
		return core.Errorf(core.CodeInvalid, "the data directory is node %q's, the configuration says %q", r.Node, node).
			WithHint("a node keeps its name; give a new node an empty directory")
	}
	if name != "" && r.Name != "" && r.Name != name {
		return core.Errorf(core.CodeInvalid, "the data directory is of cluster %q, the configuration says %q", r.Name, name).
			WithHint("give each cluster a directory of its own")
	}
	return nil
}

func (r *Record) clone() *Record {
	c := *r
	c.Peers = maps.Clone(r.Peers)
	return &c
}
