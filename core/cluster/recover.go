package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/instarhq/instar/core"
)

// Survivor gives the writes by which the only survivor of a lost quorum goes on alone: every other member
// is out, its certificates are refused, and what it has said of itself goes. They belong into the record
// of the recovery, so that there is no moment in which a lost voter is still a member.
func Survivor(ctx context.Context, r core.Reader, node string, now time.Time) ([]core.Op, error) {
	var ops []core.Op
	members, err := r.List(ctx, core.KindMember, "", 0)
	if err != nil {
		return nil, err
	}
	for _, o := range members {
		var m core.Member
		if err := json.Unmarshal(o.Value, &m); err != nil {
			return nil, core.Errorf(core.CodeCorrupt, "member %q does not decode: %w", o.ID, err)
		}
		if m.State == core.MemberRemoved {
			continue
		}
		m.Certificates = slices.Clone(m.Certificates)
		m.Since, m.Drain = now.UTC(), nil
		if m.Name == node {
			m.Role, m.State, m.Reason = core.RoleVoter, core.MemberActive, "cluster recover"
		} else {
			m.State, m.Reason = core.MemberRemoved, "left behind by cluster recover"
			for i := range m.Certificates {
				m.Certificates[i].Revoked = true
			}
		}
		value, err := json.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("member %q: %w", o.ID, err)
		}
		ops = append(ops, core.Op{Kind: core.KindMember, ID: o.ID, Value: value, IfSeq: o.Seq})
	}
	gone, err := lost(ctx, r, node)
	return append(ops, gone...), err
}

// lost are deletes of the nodes that are no members any more.
func lost(ctx context.Context, r core.Reader, node string) ([]core.Op, error) {
	nodes, err := r.List(ctx, core.KindNode, "", 0)
	if err != nil {
		return nil, err
	}
	var ops []core.Op
	for _, o := range nodes {
		if o.ID == node {
			continue
		}
		ops = append(ops, core.Op{Kind: core.KindNode, ID: o.ID, Delete: true, IfSeq: o.Seq})
		drivers, err := r.List(ctx, core.KindDriver, o.ID+"/", 0)
		if err != nil {
			return nil, err
		}
		for _, d := range drivers {
			ops = append(ops, core.Op{Kind: core.KindDriver, ID: d.ID, Delete: true, IfSeq: d.Seq})
		}
	}
	return ops, nil
}
