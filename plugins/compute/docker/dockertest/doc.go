// Package dockertest runs a real, private Docker Engine for tests: dockerd from the package docker.io, with its
// own data, socket and network namespace, so that neither its containers nor its packet filter rules meet those
// of the machine's own engine.
//
// Ports are published on Engine.Address, which the test reaches over a pair of virtual interfaces, and the
// engine reaches what listens on Engine.Gateway. Images are made from a static busybox, without a registry;
// a real registry is at hand for what needs one.
package dockertest
