// Package chaos runs a cluster of three hosts under a service that is replaced again and again, customers,
// clients that write and read, and faults at random; then it judges what happened.
//
// The hosts are network namespaces (package lab), the processes are the real ones. Faults: a daemon or the
// leader killed or stopped, links cut (both ways, one way, the leader alone, a bridge), a flapping
// cable, a host that vanishes with everything on it, a full disk, a read-only disk, wall clocks that jump a
// second, ten minutes or a day, both ways. The schedule comes from
// a seed, which is printed; the same seed makes the same schedule, although not the same interleaving.
//
// The judges: the clients' history is linearizable (porcupine); every acknowledged write is in the log with its
// receipt; all nodes have one log; no instance was made twice (I4); the log obeys I1 to I5 and I7
// (package judge); nothing fails for customers while only daemons die or stand still (I8, I9); and in the end the service is whole.
package chaos
