// Package installed manages the driver binaries of this machine's node: it installs, lists and removes them, together
// with their entries in the lock file. It needs no daemon; what the daemon knows comes in as a Use. See DESIGN.md.
package installed
