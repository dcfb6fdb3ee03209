// Package cluster runs clusters of three processes for benchmarks, each node with files of its own on
// loopback, with mutual TLS between all of them and to the load: instar's nodes are this program, started
// once more, and etcd is the one of the distribution. What is measured is the store with its network, as
// instard has it: raftstore, forward and mesh.
package cluster
