// Package snapshot makes the files from which a cluster can be rebuilt, keeps them in a directory or a
// bucket, and reads them back.
//
// A file is a zstd-compressed tar of
//
//	manifest.json        core.Manifest
//	manifest.sig         a signed note over the manifest's SHA-256
//	checkpoint           the signed tree head of the audit log
//	state                the whole state, audit log included, as raftstore writes it
//	artifacts/DRIVER/…   what revisions in use run, if asked for
//
// in this order, so that a reader knows what comes before it comes, and nothing has to be kept in
// memory. Every part has its digest in the manifest and the manifest is signed; a file that is cut off,
// changed, or followed by anything is refused as a whole.
//
// Files are named CLUSTER-GENERATION-SEQ-TIME.instar, so a listing tells what they are, and pruning
// one cluster's files never touches another's.
package snapshot
