// Package load sends customers to a service while something is done to it, and judges what they saw.
//
// The load is open-loop: every request has an intended start on a constant schedule, made before the run
// and never stretched by slow answers, and its latency counts from that start. So a stall is seen by
// every request that would have been sent during it (no coordinated omission).
//
// Judging is strict. HTTP/1.1 is spoken by a client of our own that repeats nothing: net/http would
// silently send a GET again when a kept-alive connection breaks, and hide what this package is there to
// find. Every request is recorded, and every answer is checked for status, completeness, content, and
// for having come from a revision that was active when the request was under way.
//
// It refuses to aim at anything but the loopback interface, and is bounded in rate, time and count.
package load
