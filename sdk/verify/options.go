package verify

import (
	"encoding/json"
	"errors"
	"regexp"
	"time"

	"github.com/instarhq/instar/sdk/sdktest"
)

// Options say what the checks work with. What is left empty skips the checks that need it, with a detail
// that tells so.
type Options struct {
	Target   json.RawMessage // the target's configuration
	Workload json.RawMessage // compute: of an instance that runs until it is ended; traffic: of every route
	Backend  Backend         // what can be done to the backend behind the driver's back

	// Compute.
	Artifact string          // source of the artifact that instances run
	Missing  string          // a source that does not exist
	Exits    json.RawMessage // an instance that ends by itself at once, with a status that is not 0
	Talks    json.RawMessage // an instance that writes "out 1" to "out 5" to stdout, "err 1" to stderr, and runs on
	Fails    json.RawMessage // an instance that the backend cannot start, as there is no such program
	Stubborn json.RawMessage // an instance that runs on when it is asked to stop, and writes "stubborn" to stdout once that is so
	Shows    json.RawMessage // an instance that writes its variable CONFORMANCE to stdout, then the mounted file conformance/data.txt if it is there, and runs on
	Ports    []string        // names of the ports that instances listen on
	Mounts   bool            // check mounts too

	// Traffic.
	DataPlane bool // send requests through the routes

	// Metrics.
	Query   string   // has data
	Empty   string   // a query without data
	Invalid string   // a query that the backend refuses
	Stale   string   // a query whose newest sample is older than the window
	Want    *float64 // the value of every sample of Query, in the unit that the query asks for
	At      time.Time
	Window  time.Duration // default a minute

	Only         *regexp.Regexp       // names of the checks to run, besides process/starts; nil: all
	Rounds       int                  // how often a check interrupts a call, each time at another moment; 0: 5
	Patience     time.Duration        // for work that the backend has to do; 0: 30s
	Soon         time.Duration        // for what must not take any time, such as to heed a cancellation; 0: 2s
	StartTimeout time.Duration        // until the binary must have begun to serve; default 10s
	Progress     func(sdktest.Result) // called after each check; may be nil
}

// check finds what does not go together.
func (o Options) check() error {
	if (o.Backend.Stop == nil) != (o.Backend.Start == nil) {
		return errors.New("the backend needs both Stop and Start, or neither: what is stopped has to be started again")
	}
	return nil
}

// limit is what one check may take.
func (o Options) limit() time.Duration { return max(checkLimit, 10*o.Patience) }
