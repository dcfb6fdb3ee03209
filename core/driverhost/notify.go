package driverhost

// Changed is readable after Targets or Drivers give something new. It is for one reader; others Subscribe.
func (h *Host) Changed() <-chan struct{} { return h.changed }

// Subscribe returns a channel that is readable after Targets or Drivers give something new, and a function
// that ends the subscription.
func (h *Host) Subscribe() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	h.subscribers[c] = struct{}{}
	h.mu.Unlock()
	return c, func() {
		h.mu.Lock()
		delete(h.subscribers, c)
		h.mu.Unlock()
	}
}

// notify wakes all readers; one that has not read yet needs no second signal.
func (h *Host) notify() {
	h.mu.Lock()
	defer h.mu.Unlock()
	wake(h.changed)
	for c := range h.subscribers {
		wake(c)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
