// Package launch starts a driver's process, attaches to one that is running already, and ends one. It is
// the daemon's side of package serve; core/driverhost supervises with it, and package verify tests with it.
//
// A process outlives whoever launched it: it has a session of its own, its standard error is a file, and
// everything needed to attach again is in State and in the private directory of the launch.
package launch
