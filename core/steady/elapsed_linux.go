package steady

import (
	"time"

	"golang.org/x/sys/unix"
)

// began is what elapsed falls back to on a kernel that does not know the clock.
var began = time.Now()

// elapsed is on the clock that goes on while the machine sleeps: what passes then has passed.
func elapsed() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(began)
	}
	return time.Duration(t.Nano())
}
