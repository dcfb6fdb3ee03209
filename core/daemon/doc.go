// Package daemon assembles one node: store, typed view, driver host, control, agent and API, in a
// struct that tests can start like main does. parts in daemon.go is the list of what runs, in the order
// in which it starts; it ends in the opposite one.
//
// A daemon that ends, in whatever way, leaves drivers and instances running: the next one on the same
// data directory finds them again. Teardown ends those.
package daemon
