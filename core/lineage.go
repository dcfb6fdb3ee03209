package core

// KindLineage is the kind of Lineage objects. Only raftstore writes it, as part of a restore.
const KindLineage Kind = "lineage"

// Lineage is the first record that a log gets after a restore or a recovery, under the new origin as its id. A
// restored log shares its beginning with the log that the snapshot came from and then differs, so it
// must not go on under the same origin: two histories would bear one name.
type Lineage struct {
	Format   int      `json:"format"`
	Origin   string   `json:"origin"`   // of the log from this record on
	Previous TreeHead `json:"previous"` // the log that the snapshot was taken of, as it was then
	Snapshot Digest   `json:"snapshot"` // of the snapshot's data; empty after a recovery
	// Recovered is the node whose own copy the log goes on with, because most voters were lost.
	Recovered string `json:"recovered,omitempty"`
}
