// Package judge reads a cluster's audit log and says whether the invariants of the design held at every
// record of it. It knows nothing of how control and agents work: it replays what was committed and looks.
//
// The other half of the judgement, what customers saw, is package load's; Timeline connects the two.
package judge
