package sdk

import (
	"net"
	"strconv"
)

// maxWeight bounds the weight of a pool.
const maxWeight = 1_000_000

// CheckPools checks the pools of a route by themselves: each revision has one, each endpoint an id of its
// own in its pool and an address that can be dialled, and no weight is out of bounds. The error is
// InvalidConfig and names the culprit. A traffic driver calls it at the beginning of Apply.
func CheckPools(pools []Pool) error {
	seen := make(map[int]bool)
	for _, p := range pools {
		if p.Revision < 1 {
			return InvalidConfig("pools", "revision %d: revisions begin with 1", p.Revision)
		}
		if seen[p.Revision] {
			return InvalidConfig("pools", "revision %d has more than one pool", p.Revision)
		}
		seen[p.Revision] = true
		if p.Weight < 0 || p.Weight > maxWeight {
			return InvalidConfig("pools", "revision %d has weight %d: it must be between 0 and %d", p.Revision, p.Weight, maxWeight)
		}
		ids := make(map[string]bool)
		for _, e := range p.Endpoints {
			if e.ID == "" || ids[e.ID] {
				return InvalidConfig("pools", "revision %d: every endpoint needs an id of its own, and %q is not", p.Revision, e.ID)
			}
			ids[e.ID] = true
			if err := CheckAddress(e.Address); err != nil {
				return InvalidConfig("pools", "endpoint %s: %q is no address: %w", e.ID, e.Address, err)
			}
		}
	}
	return nil
}

// CheckAddress checks that an address is host:port with a numeric port from 1 to 65535. The host may be
// empty, which means every address where one listens.
func CheckAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return err
}
