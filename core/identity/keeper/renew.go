package keeper

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/instarhq/instar/core"
)

const (
	firstRetry = 10 * time.Second
	lastRetry  = 10 * time.Minute
	// longestWait bounds how long the loop sleeps without looking at the clock again: timers stand still
	// while a machine does, and clocks are set.
	longestWait = 10 * time.Minute
)

// Signer has the cluster sign a certificate request; both are PEM. bundle is the CA's certificates.
type Signer func(ctx context.Context, csr []byte) (cert string, bundle []string, err error)

// Renewal says how a node's certificate is renewed.
type Renewal struct {
	Addresses func() []string // for the next certificate, see Request
	Sign      Signer
	Logger    hclog.Logger
	// Random gives a number in [0, 1); nil: a good one. All nodes began at about the same time, and shall
	// not all renew at the same.
	Random func() float64
}

// Renew keeps the certificate fresh until ctx ends: at a random point between 50 and 80 percent of its
// life it asks for another one, and again, ever more slowly, as long as it gets none.
func (k *Keeper) Renew(ctx context.Context, r Renewal) error {
	if r.Random == nil {
		r.Random = rand.Float64
	}
	retry := firstRetry
	due := k.due(r.Random())
	for {
		changed := k.Changed()
		wait := min(due.Sub(k.Now()), longestWait)
		if !k.Installed() {
			wait = longestWait
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed: // a join, or the CA's bundle
			retry, due = firstRetry, k.due(r.Random())
			continue
		case <-time.After(wait):
		}
		if !k.Installed() || k.Now().Before(due) {
			continue
		}
		if err := k.renewOnce(ctx, r); err != nil {
			self, _ := k.Self()
			r.Logger.Warn("the node's certificate was not renewed; trying again", "expires", self.NotAfter, "in", retry, "error", err)
			due, retry = k.Now().Add(retry), min(2*retry, lastRetry)
			continue
		}
		retry, due = firstRetry, k.due(r.Random())
		self, _ := k.Self()
		r.Logger.Info("the node's certificate was renewed", "serial", self.Serial, "expires", self.NotAfter)
	}
}

// due is when the certificate is to be renewed.
func (k *Keeper) due(random float64) time.Time {
	leaf := k.Leaf()
	if leaf == nil {
		return k.Now()
	}
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return leaf.NotBefore.Add(time.Duration((0.5 + 0.3*random) * float64(life)))
}

func (k *Keeper) renewOnce(ctx context.Context, r Renewal) error {
	self, _ := k.Self()
	csr, err := k.Request(self.Node, r.Addresses())
	if err != nil {
		return err
	}
	cert, bundle, err := r.Sign(ctx, csr)
	if err != nil {
		return err
	}
	if err := k.usable(cert); err != nil {
		return err
	}
	return k.Install(cert, bundle)
}

// usable refuses a certificate that nobody would take yet: the clock of whoever signed it is ahead. The one
// that the node has serves on; with the new one it would be cut off until the time comes.
func (k *Keeper) usable(cert string) error {
	block, _ := pem.Decode([]byte(cert))
	if block == nil {
		return core.Errorf(core.CodeInvalid, "the certificate that was signed is not PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return core.Errorf(core.CodeInvalid, "the certificate that was signed: %w", err)
	}
	if k.Now().Before(leaf.NotBefore) {
		return core.Errorf(core.CodeUnavailable, "the new certificate is valid from %s on only", leaf.NotBefore.Format(time.RFC3339)).
			WithHint("compare the clocks of this machine and of the leader's")
	}
	return nil
}
