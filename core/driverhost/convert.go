package driverhost

import (
	"context"
	"errors"
	"fmt"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/sdk"
)

// The types of core and sdk are twins on purpose: core imports the standard library alone, and a driver
// must not drag core along. This file is where they meet.

var codes = map[sdk.Code]core.Code{
	sdk.CodeNotFound: core.CodeNotFound, sdk.CodeConflict: core.CodeConflict, sdk.CodeUnavailable: core.CodeUnavailable,
	sdk.CodeInvalidConfig: core.CodeInvalid, sdk.CodeUnsupported: core.CodeUnsupported, sdk.CodeInternal: core.CodeInternal,
}

// Error converts the error of a driver's call; nil stays nil and an Error of core stays what it is.
func Error(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := core.AsError(err); ok {
		return err
	}
	var e *sdk.Error
	if errors.As(err, &e) {
		code, ok := codes[e.Code]
		if !ok {
			code = core.CodeInternal
		}
		converted := core.Errorf(code, "%w", err)
		converted.RetryAfter = e.RetryAfter
		return converted
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return core.Errorf(core.CodeTimeout, "the driver did not answer in time: %w", err)
	case errors.Is(err, context.Canceled):
		return err
	}
	return core.Errorf(core.CodeInternal, "%w", err)
}

// Driver converts a description; protocol is the version that was negotiated. Node, Path and SHA256 are
// left empty.
func Driver(d sdk.Description, protocol int) (core.Driver, error) {
	target, err := attributes(d.Target)
	if err != nil {
		return core.Driver{}, fmt.Errorf("target schema: %w", err)
	}
	workload, err := attributes(d.Workload)
	if err != nil {
		return core.Driver{}, fmt.Errorf("workload schema: %w", err)
	}
	var capabilities []string
	for _, c := range d.Capabilities {
		capabilities = append(capabilities, string(c))
	}
	return core.Driver{
		Format: core.Format, Name: d.Name, Kind: core.DriverKind(d.Kind), Version: d.Version, Scope: core.Scope(d.Scope),
		Protocol: protocol, Doc: d.Doc, Capabilities: capabilities, Target: target, Workload: workload,
		Guide: d.Guide,
	}, nil
}

func attributes(schema sdk.Schema) ([]core.Attribute, error) {
	out := make([]core.Attribute, 0, len(schema))
	for _, a := range schema {
		typ, err := ctyjson.MarshalType(a.Type)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: type: %w", a.Name, err)
		}
		c := core.Attribute{Name: a.Name, Type: typ, Required: a.Required, Sensitive: a.Sensitive, Doc: a.Doc}
		if a.Default != cty.NilVal {
			if c.Default, err = ctyjson.Marshal(a.Default, a.Type); err != nil {
				return nil, fmt.Errorf("attribute %q: default: %w", a.Name, err)
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// Schema converts the published attributes of a driver back.
func Schema(list []core.Attribute) (sdk.Schema, error) {
	out := make(sdk.Schema, 0, len(list))
	for _, c := range list {
		a := sdk.Attribute{Name: c.Name, Required: c.Required, Sensitive: c.Sensitive, Doc: c.Doc}
		var err error
		if a.Type, err = ctyjson.UnmarshalType(c.Type); err != nil {
			return nil, fmt.Errorf("attribute %q: type: %w", c.Name, err)
		}
		if len(c.Default) > 0 {
			if a.Default, err = ctyjson.Unmarshal(c.Default, a.Type); err != nil {
				return nil, fmt.Errorf("attribute %q: default: %w", c.Name, err)
			}
		}
		out = append(out, a)
	}
	return out, nil
}

// Artifact converts an artifact.
func Artifact(a core.Artifact) sdk.Artifact {
	return sdk.Artifact{Source: a.Source, Checksum: a.Checksum, Digest: string(a.Digest)}
}

// CoreArtifact converts what Resolve returned.
func CoreArtifact(a sdk.Artifact) core.Artifact {
	return core.Artifact{Source: a.Source, Checksum: a.Checksum, Digest: core.Digest(a.Digest)}
}

// InstanceSpec converts what Create needs: the instance, its revision, and the content of the configs that
// the revision mounts, by digest.
func InstanceSpec(cluster string, generation uint64, i core.Instance, r core.Revision, configs map[core.Digest][]byte) (sdk.InstanceSpec, error) {
	spec := sdk.InstanceSpec{
		ID: i.ID, Cluster: cluster, Generation: generation, Service: i.Service,
		Revision: r.Number, RevisionDigest: string(r.Digest), Artifact: Artifact(r.Spec.Artifact),
		Config: r.Spec.Compute.Config, Env: r.Spec.Env,
		Resources: sdk.Resources{CPU: r.Spec.Resources.CPU, Memory: r.Spec.Resources.Memory},
		Grace:     r.Spec.Grace.Std(),
	}
	for _, p := range r.Spec.Ports {
		spec.Ports = append(spec.Ports, sdk.Port{Name: p.Name, Number: p.Number})
	}
	for _, m := range r.Spec.Mounts {
		data, ok := configs[m.Digest]
		if !ok {
			return spec, core.Errorf(core.CodeNotFound, "instance %s mounts config %s, which is not there", i.ID, core.ConfigID(m.Config, m.Digest)).
				WithObject(core.KindConfig, core.ConfigID(m.Config, m.Digest))
		}
		spec.Mounts = append(spec.Mounts, sdk.Mount{Path: m.Path, Data: data})
	}
	return spec, nil
}

// Route converts the wanted state of a route.
func Route(r core.Route) sdk.Route {
	out := sdk.Route{
		ID: r.Name, Generation: r.Generation, Listen: r.Spec.Listen, Protocol: sdk.Protocol(r.Spec.Protocol),
		Host: r.Spec.Host, Path: r.Spec.Path, Drain: r.Spec.Drain.Std(), Config: r.Spec.Config,
	}
	if r.Spec.TLS != nil {
		out.TLS = &sdk.TLS{CertificateFile: r.Spec.TLS.Certificate, KeyFile: r.Spec.TLS.Key}
	}
	for _, p := range r.Pools {
		pool := sdk.Pool{Revision: p.Revision, Weight: p.Weight, Preview: p.Preview}
		for _, e := range p.Endpoints {
			pool.Endpoints = append(pool.Endpoints, sdk.Endpoint{ID: e.Instance, Address: e.Address})
		}
		out.Pools = append(out.Pools, pool)
	}
	return out
}
