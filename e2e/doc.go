// Package e2e tests instar's real binaries, built with the race detector: a daemon with its drivers as
// processes of their own, real workloads, and customers who keep coming while something is done to them.
//
// The tests of the design's invariants are called after them. What customers saw is judged by package
// load, what was committed by package judge, and what really ran by the instances themselves: each
// announces its birth (see announce).
package e2e
