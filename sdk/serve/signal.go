package serve

import (
	"os"
	"os/signal"
	"syscall"
)

// ignoreSignals makes the process deaf to what the death of the daemon or of its terminal sends. The
// signals are caught and dropped, not ignored: an ignored signal stays ignored in the programs that a
// driver starts, and a workload without SIGPIPE or SIGINT behaves in ways nobody expects.
func ignoreSignals() {
	drop := make(chan os.Signal, 1)
	signal.Notify(drop, syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	go func() {
		for range drop { // there is nothing to do with them
		}
	}()
}

// stopOnTerm ends the process in order at SIGTERM.
func (p *process) stopOnTerm() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		p.logger.Info("stopping at SIGTERM")
		p.stop()
	}()
}
