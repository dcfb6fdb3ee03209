package main

import (
	"sync"
	"time"

	"github.com/urfave/cli/v2"
)

// agreed asks, unless -yes answers.
func (u *ui) agreed(c *cli.Context, question string) error {
	if c.Bool("yes") {
		return nil
	}
	return u.confirm(question)
}

// waiting says on a terminal what is being waited for, and for how long, until the returned function is
// called.
func (u *ui) waiting(what string) (done func()) {
	if !u.terminal {
		return func() {}
	}
	began, stop := time.Now(), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				say(u.out, "\r\x1b[K")
				return
			case now := <-tick.C:
				say(u.out, "\r%s %s … %s\x1b[K", u.style.Faint("●"), what, now.Sub(began).Round(100*time.Millisecond))
			}
		}
	})
	return sync.OnceFunc(func() {
		close(stop)
		group.Wait()
	})
}
