package driverhost

import "time"

// Impatient shortens what tests would wait for.
func (c Config) Impatient() Config {
	c.timing = defaultTiming
	c.timing.handshake, c.timing.describe, c.timing.configure = 4*time.Second, 2*time.Second, 2*time.Second
	c.timing.probe, c.timing.ping, c.timing.deaf = 2*time.Second, time.Second, 2*time.Second
	c.timing.look, c.timing.stop = 200*time.Millisecond, 5*time.Second
	return c
}

// SoundAtOnce takes every driver that came up for a sound one.
func (c Config) SoundAtOnce() Config {
	c.timing.sound = time.Nanosecond
	return c
}
