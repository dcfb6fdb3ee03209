// Package audit is the format of instar's log: how a transaction becomes the bytes of a record, how
// records become leaves of a Merkle tree (RFC 6962), how a tree head is signed, and how all of that is
// verified away from the cluster that made it.
//
// Nothing here talks to a network or a disk: the store feeds it bytes and tree nodes, the client feeds
// it files. See DESIGN.md for what is signed by what, and for what verification does and does not prove.
package audit
