// Package coretest has what tests of everything above the store need: an in-memory core.Store that
// keeps every promise of the port, and the conformance suite that says what those promises are.
package coretest
