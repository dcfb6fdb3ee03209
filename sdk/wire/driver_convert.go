package wire

import (
	"fmt"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

var kinds = enum[sdk.Kind, driverv1.Kind]{
	sdk.KindCompute: driverv1.Kind_KIND_COMPUTE,
	sdk.KindTraffic: driverv1.Kind_KIND_TRAFFIC,
	sdk.KindMetrics: driverv1.Kind_KIND_METRICS,
}

var scopes = enum[sdk.Scope, driverv1.Scope]{
	sdk.ScopeNode:    driverv1.Scope_SCOPE_NODE,
	sdk.ScopeCluster: driverv1.Scope_SCOPE_CLUSTER,
}

func descriptionToWire(d sdk.Description) (*driverv1.DescribeResponse, error) {
	target, err := schemaToWire(d.Target)
	if err != nil {
		return nil, fmt.Errorf("target schema: %w", err)
	}
	workload, err := schemaToWire(d.Workload)
	if err != nil {
		return nil, fmt.Errorf("workload schema: %w", err)
	}
	return &driverv1.DescribeResponse{
		Name: d.Name, Version: d.Version, Kind: kinds.toWire(d.Kind), Scope: scopes.toWire(d.Scope),
		Doc:          text(d.Doc),
		Capabilities: each(d.Capabilities, func(c sdk.Capability) string { return string(c) }),
		Target:       target, Workload: workload, Guide: text(d.Guide),
	}, nil
}

func descriptionFromWire(d *driverv1.DescribeResponse) (sdk.Description, error) {
	target, err := schemaFromWire(d.GetTarget())
	if err != nil {
		return sdk.Description{}, fmt.Errorf("target schema: %w", err)
	}
	workload, err := schemaFromWire(d.GetWorkload())
	if err != nil {
		return sdk.Description{}, fmt.Errorf("workload schema: %w", err)
	}
	return sdk.Description{
		Name: d.GetName(), Version: d.GetVersion(), Kind: kinds.fromWire(d.GetKind()), Scope: scopes.fromWire(d.GetScope()),
		Doc:          d.GetDoc(),
		Capabilities: each(d.GetCapabilities(), func(c string) sdk.Capability { return sdk.Capability(c) }),
		Target:       target, Workload: workload, Guide: d.GetGuide(),
	}, nil
}

func schemaToWire(schema sdk.Schema) ([]*driverv1.Attribute, error) {
	out := make([]*driverv1.Attribute, 0, len(schema))
	for _, a := range schema {
		// A schema is checked before cty sees it: encoding a missing or capsule type panics.
		if err := (sdk.Schema{a}).Validate(); err != nil {
			return nil, err
		}
		typ, err := ctyjson.MarshalType(a.Type)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: type: %w", a.Name, err)
		}
		w := &driverv1.Attribute{Name: a.Name, Type: typ, Required: a.Required, Sensitive: a.Sensitive, Doc: text(a.Doc)}
		if a.Default != cty.NilVal {
			if w.Default, err = ctyjson.Marshal(a.Default, a.Type); err != nil {
				return nil, fmt.Errorf("attribute %q: default: %w", a.Name, err)
			}
		}
		out = append(out, w)
	}
	return out, nil
}

func schemaFromWire(in []*driverv1.Attribute) (sdk.Schema, error) {
	var out sdk.Schema
	for _, w := range in {
		a := sdk.Attribute{Name: w.GetName(), Required: w.GetRequired(), Sensitive: w.GetSensitive(), Doc: w.GetDoc()}
		var err error
		if a.Type, err = ctyjson.UnmarshalType(w.GetType()); err != nil {
			return nil, fmt.Errorf("attribute %q: type: %w", a.Name, err)
		}
		if len(w.GetDefault()) > 0 {
			if a.Default, err = ctyjson.Unmarshal(w.GetDefault(), a.Type); err != nil {
				return nil, fmt.Errorf("attribute %q: default: %w", a.Name, err)
			}
		}
		out = append(out, a)
	}
	return out, nil
}

func configureToWire(r sdk.ConfigureRequest) *driverv1.ConfigureRequest {
	return &driverv1.ConfigureRequest{
		Target: r.Target, Node: r.Node, Cluster: r.Cluster, Generation: r.Generation,
		StateDir: r.StateDir, Config: r.Config,
	}
}

func configureFromWire(r *driverv1.ConfigureRequest) sdk.ConfigureRequest {
	return sdk.ConfigureRequest{
		Target: r.GetTarget(), Node: r.GetNode(), Cluster: r.GetCluster(), Generation: r.GetGeneration(),
		StateDir: r.GetStateDir(), Config: jsonFromWire(r.GetConfig()),
	}
}

func healthToWire(h sdk.Health) *driverv1.ProbeResponse {
	return &driverv1.ProbeResponse{
		Healthy: h.Healthy, Reason: text(h.Reason), Attributes: labels(h.Attributes), Capacity: resourcesToWire(h.Capacity),
	}
}

func healthFromWire(h *driverv1.ProbeResponse) sdk.Health {
	return sdk.Health{
		Healthy: h.GetHealthy(), Reason: h.GetReason(), Attributes: h.GetAttributes(), Capacity: resourcesFromWire(h.GetCapacity()),
	}
}
