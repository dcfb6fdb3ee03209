package daemon

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/driverhost"
	"github.com/instarhq/instar/core/state"
	"github.com/instarhq/instar/sdk"
)

// artifactHost is the driver host as the agent sees it: its compute drivers find an artifact also where its
// source does not lead.
type artifactHost struct {
	*driverhost.Host
	artifacts *artifacts
}

// Compute implements agent.Host.
func (h artifactHost) Compute(driver, target string) (sdk.Compute, error) {
	client, err := h.Host.Compute(driver, target)
	if err != nil {
		return nil, err
	}
	return &fetcher{client, h.artifacts, driver}, nil
}

// fetcher is a compute driver whose Fetch looks further: in the snapshot that was restored here, and on the
// other nodes. So one node that has an artifact is enough, whatever becomes of its source, and nodes share
// no disk.
type fetcher struct {
	sdk.Compute
	artifacts *artifacts
	driver    string
}

// Fetch implements sdk.Compute.
func (f *fetcher) Fetch(ctx context.Context, artifact sdk.Artifact, progress func(sdk.FetchProgress)) error {
	err := f.Compute.Fetch(ctx, artifact, progress)
	if !elsewhere(err) || artifact.Digest == "" || ctx.Err() != nil {
		return err
	}
	key := artifactKey{f.driver, core.Digest(artifact.Digest)}
	keeper, keeperErr := keeperOf(f.Compute, f.driver)
	if keeperErr != nil || key.check() != nil {
		return err
	}
	switch supplyErr := f.artifacts.supply(ctx, keeper, key); sdk.CodeOf(supplyErr) {
	case "":
		return f.Compute.Fetch(ctx, artifact, progress)
	case sdk.CodeNotFound, sdk.CodeUnsupported:
		return err // what the driver says of the source is what helps
	default:
		// It may be on a node that is away just now: not for ever.
		return sdk.Unavailable(importEvery/2, "%w; and from elsewhere: %w", err, supplyErr)
	}
}

// elsewhere reports whether an artifact that could not be had here may be had elsewhere.
func elsewhere(err error) bool {
	code := sdk.CodeOf(err)
	return code == sdk.CodeNotFound || code == sdk.CodeUnavailable
}

// supply brings an artifact into a driver; NotFound if nobody has it.
func (a *artifacts) supply(ctx context.Context, keeper sdk.ArtifactKeeper, key artifactKey) error {
	if err := a.importKept(ctx, keeper, key); err == nil || ctx.Err() != nil {
		return err
	} else if sdk.CodeOf(err) != sdk.CodeNotFound {
		a.log.Warn("an artifact of the restored snapshot cannot be imported", "driver", key.driver, "artifact", key.digest, "error", err)
	}
	return a.fromOthers(ctx, key, func(r io.Reader) error { return keeper.ImportArtifact(ctx, string(key.digest), r) })
}

// fromOthers asks one node after the other until use could read the artifact. NotFound if all have
// answered that they do not have it.
func (a *artifacts) fromOthers(ctx context.Context, key artifactKey, use func(io.Reader) error) error {
	result := sdk.NotFound("no node of the cluster has artifact %s", key.digest)
	if a.daemon.mesh == nil {
		return result
	}
	for _, node := range a.others(key.driver) {
		began := time.Now()
		err := a.fromNode(ctx, node, key, use)
		switch {
		case err == nil:
			a.log.Info("fetched from another node", "driver", key.driver, "artifact", key.digest, "node", node, "took", time.Since(began).Round(time.Millisecond))
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case sdk.CodeOf(err) != sdk.CodeNotFound && sdk.CodeOf(err) != sdk.CodeUnsupported:
			result = fmt.Errorf("node %s: %w", node, err)
		}
	}
	return result
}

// others are the other members, those first that are up and have the driver.
func (a *artifacts) others(driver string) []string {
	view := a.daemon.state.View()
	rank := map[string]int{}
	for name, member := range state.Members.All(view) {
		if name == a.daemon.cfg.Node || member.State == core.MemberRemoved {
			continue
		}
		rank[name] = 1
		node, _ := state.Nodes.Get(view, name)
		for _, t := range node.Targets {
			if t.Kind == core.DriverCompute && t.Driver == driver {
				rank[name] = 0
			}
		}
		if status, ok := state.NodeStatuses.Get(view, name); ok && status.State != core.NodeReady {
			rank[name] += 2
		}
	}
	names := make([]string, 0, len(rank))
	for name := range rank {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int {
		if d := rank[x] - rank[y]; d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	return names
}
