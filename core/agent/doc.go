// Package agent is the part of a node that acts: it makes and ends instances, checks their health,
// applies routes, runs smoke checks, and reports what it sees. It decides nothing: what is wanted comes
// from the store, what is there from the drivers, and between the two it keeps nothing that a crash
// could take away. See DESIGN.md.
package agent
