//go:build !linux

package launch

// awaitEnd cannot be had portably: the process has to be looked at.
func (s State) awaitEnd(<-chan struct{}) bool { return false }
