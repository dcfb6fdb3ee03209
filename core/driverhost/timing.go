package driverhost

import "time"

// timing holds every interval and deadline of the supervision. Nobody configures them: tests, which have
// less patience, replace them.
type timing struct {
	handshake time.Duration // from the launch to a connection
	describe  time.Duration
	configure time.Duration
	probe     time.Duration // for the first answer
	ping      time.Duration
	attach    time.Duration
	// look is how often the process is asked for a sign of life and its binary is looked at.
	look time.Duration
	// deaf is how long a process may give no sign of life before it is replaced. It is long, because
	// replacing takes a data plane away that may still work while the machine is short of CPU.
	deaf time.Duration
	// stop is what a process gets from SIGTERM to SIGKILL.
	stop time.Duration
	// drain is how long calls to an old process may go on after a new one has taken over.
	drain time.Duration
	// sound is how long a driver must have been up for its past failures to be forgotten, and for its
	// next launch to be made at once.
	sound time.Duration
}

var defaultTiming = timing{
	handshake: 10 * time.Second, describe: 5 * time.Second, configure: 30 * time.Second, probe: 10 * time.Second,
	ping: 5 * time.Second, attach: 10 * time.Second, look: 5 * time.Second, deaf: time.Minute,
	stop: 30 * time.Second, drain: 30 * time.Second, sound: time.Minute,
}
