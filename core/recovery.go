package core

import "time"

// The kinds of objects of disaster recovery.
const (
	KindCheckpoint Kind = "checkpoint" // by Checkpoint.Name
	KindSchedule   Kind = "schedule"   // by Schedule.Name
	KindRecovery   Kind = "recovery"   // one object, RecoveryObject
	KindFinding    Kind = "finding"    // by FindingID
)

// Checkpoint is a named point of the log: all services as they were then.
type Checkpoint struct {
	Format  int       `json:"format"`
	Name    string    `json:"name"`
	Seq     uint64    `json:"seq"` // the state after this record
	Time    time.Time `json:"time"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
	Reason  string    `json:"reason,omitempty"`
}

// Point names a point of the log: a checkpoint, a record, or a time. Exactly one is set.
type Point struct {
	Checkpoint string    `json:"checkpoint,omitempty"`
	Seq        uint64    `json:"seq,omitempty"`
	Time       time.Time `json:"time,omitzero"`
}

// Return is what going back to a point does, or did.
type Return struct {
	Applied
	Seq uint64 `json:"seq"` // the state after this record
	// Newer are services that did not exist then. They stay, unless they are to be deleted.
	Newer []string `json:"newer,omitempty"`
}

// Schedule makes snapshots by itself, on the leader.
type Schedule struct {
	Format    int      `json:"format"`
	Name      string   `json:"name"`
	Every     Duration `json:"every"`
	URL       string   `json:"url"`                 // of a bucket or directory: "file:///backup", "s3://bucket/prefix"; no secret in it
	Keep      int      `json:"keep,omitempty"`      // newest snapshots to keep; 0: no limit
	KeepFor   Duration `json:"keep_for,omitempty"`  // and for how long; 0: no limit
	Artifacts bool     `json:"artifacts,omitempty"` // with the artifacts of all revisions that are in use
	Last      *Taken   `json:"last,omitempty"`      // the newest that was taken
	Failing   *Failing `json:"failing,omitempty"`   // since when it does not work, and why
}

// Taken says what a schedule made last.
type Taken struct {
	Time  time.Time `json:"time"`
	Name  string    `json:"name"` // of the file
	Seq   uint64    `json:"seq"`
	Bytes int64     `json:"bytes"`
}

// Failing says since when a schedule fails.
type Failing struct {
	Since time.Time `json:"since"`
	Error string    `json:"error"`
}

// RecoveryObject is the id of the only Recovery object.
const RecoveryObject = "recovery"

// Recovery is there from a restore until what runs agrees with what was restored. As long as it is
// not approved, agents only look, control does not plan, and operators' verbs are refused.
type Recovery struct {
	Format   int       `json:"format"`
	Since    time.Time `json:"since"`
	Rebuild  bool      `json:"rebuild,omitempty"` // approves itself when every node has said what it has
	Approved time.Time `json:"approved,omitzero"`
	By       string    `json:"by,omitempty"` // who approved
	// Moved is when every route was where the state wants it, after the approval.
	Moved time.Time `json:"moved,omitzero"`
	// DestroyUnknown also ends instances that the snapshot knows nothing of, once traffic has moved.
	DestroyUnknown bool `json:"destroy_unknown,omitempty"`
}

// Finding is one instance that a driver has, as an agent found it while the cluster observes: what
// List gave, classified against the restored state.
type Finding struct {
	Format     int    `json:"format"`
	Node       string `json:"node"`
	Driver     string `json:"driver"`
	Target     string `json:"target"`
	Instance   string `json:"instance"` // the driver's label
	Service    string `json:"service,omitempty"`
	Revision   Digest `json:"revision,omitempty"`
	Generation uint64 `json:"generation,omitempty"`
	Class      Class  `json:"class"`
	Detail     string `json:"detail,omitempty"`
	// Fingerprint, Addresses and Unhealthy are what the agent saw: it has probed the health checks once.
	Fingerprint string            `json:"fingerprint,omitempty"`
	Unhealthy   string            `json:"unhealthy,omitempty"`
	Addresses   map[string]string `json:"addresses,omitempty"`
	Found       time.Time         `json:"found"`
}

// FindingID is the id of a finding: "n1/process/local/web-7f3k2m".
func FindingID(node, driver, target, instance string) string {
	return node + "/" + driver + "/" + target + "/" + instance
}

// Class says how something that runs, or should, relates to a restored state.
type Class string

// The classes.
const (
	ClassAdopt   Class = "adopt"   // known and as it should be: taken over as it is
	ClassExcess  Class = "excess"  // a known revision, an instance that the state does not know
	ClassUnknown Class = "unknown" // this cluster's, of a service or revision that the snapshot does not know
	ClassMissing Class = "missing" // in the state, not there
	ClassDrifted Class = "drifted" // there, and not as it was made
	ClassForeign Class = "foreign" // not this cluster's: never touched
	// ClassListed is no instance: the agent has asked the target for everything that it has.
	ClassListed Class = "listed"
)

// RecoveryView is a recovery with what has been found.
type RecoveryView struct {
	Recovery
	Restored *Lineage      `json:"restored,omitempty"` // the restore's record: the snapshot, its origin and root
	Classes  map[Class]int `json:"classes"`            // how many findings there are of each class
	Silent   []string      `json:"silent,omitempty"`   // targets that have not said yet what they have
	Findings []Finding     `json:"findings"`
}

// Manifest says what a snapshot file has in it. The file is a zstd-compressed tar: the manifest, its
// signature, the signed tree head, the state, then artifacts.
type Manifest struct {
	Format     int                `json:"format"`
	Cluster    string             `json:"cluster"` // name
	ClusterID  string             `json:"cluster_id"`
	Generation uint64             `json:"generation"`
	Head       TreeHead           `json:"head"` // of the audit log in the state, which is whole
	Created    time.Time          `json:"created"`
	Node       string             `json:"node"`           // that made it
	Version    string             `json:"version"`        // of instard
	Level      int                `json:"level"`          // of the stored formats
	Keys       []string           `json:"keys,omitempty"` // public keys of the signers
	State      Part               `json:"state"`
	Artifacts  []SnapshotArtifact `json:"artifacts,omitempty"`
	// Missing are artifacts that revisions in use need and that could not be had, with why.
	Missing []MissingArtifact `json:"missing,omitempty"`
}

// Part is a part of a snapshot file.
type Part struct {
	Bytes  int64  `json:"bytes"`
	Digest Digest `json:"digest"`
}

// SnapshotArtifact is an artifact in a snapshot, as the driver that runs it has exported it.
type SnapshotArtifact struct {
	Driver string `json:"driver"`
	Digest Digest `json:"artifact"` // what revisions name it by
	Part
}

// MissingArtifact is one that a snapshot lacks.
type MissingArtifact struct {
	Driver string `json:"driver"`
	Digest Digest `json:"artifact"`
	Reason string `json:"reason"`
}

// SnapshotFile is a snapshot in a bucket.
type SnapshotFile struct {
	Name  string    `json:"name"`
	Bytes int64     `json:"bytes"`
	Time  time.Time `json:"time"` // when it was taken, from its name
	Seq   uint64    `json:"seq"`  // records in it, from its name
}

// SnapshotReport is what verifying a snapshot, or a drill with it, has shown.
type SnapshotReport struct {
	File     string   `json:"file,omitempty"`
	Manifest Manifest `json:"manifest"`
	SignedBy []string `json:"signed_by,omitempty"` // known keys whose signatures verified
	// Restored: the state was opened, and every record, the tree and all objects verified.
	Restored bool     `json:"restored"`
	Services int      `json:"services"`
	Records  uint64   `json:"records"`
	Took     Duration `json:"took"` // from the first byte to a state that could serve
}

// SnapshotSaved is a snapshot that was saved.
type SnapshotSaved struct {
	File     SnapshotFile `json:"file"`
	Manifest Manifest     `json:"manifest"`
}

// SnapshotList is a list of snapshot files.
type SnapshotList struct {
	Items []SnapshotFile `json:"items"`
}

// ApproveRequest says how far the approval of a recovery goes.
type ApproveRequest struct {
	// DestroyUnknown also ends instances that the restored state knows nothing of, once traffic is where
	// the state wants it.
	DestroyUnknown bool `json:"destroy_unknown,omitempty"`
	// Missing goes on although targets have not said what they have: what the state has there counts as
	// lost. Without it that is CodeUnavailable.
	Missing bool `json:"missing,omitempty"`
}
