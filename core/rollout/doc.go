// Package rollout is the planner: a pure function from what is wanted, what is seen and the time to the
// next step of one service. It has no I/O and no clock, and keeps nothing between two calls: whatever
// happened in between, crashed or was done twice, the next Plan starts from the store's objects alone.
//
// Plan decides what control does next; Begin, Rollback, Abort, Scale and Delete decide what an
// operator's verb changes. View.With applies the latter, so that a verb and the planner's next step can
// be one transaction.
package rollout
