// Package scaffold writes the module of a new driver: `instar driver new`. What it writes builds, passes the
// conformance suite, and has a test, a continuous integration and a release of its own; a vendor replaces the
// parts that are about the backend. See DESIGN.md.
package scaffold
