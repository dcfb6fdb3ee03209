package wire

import (
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

var protocols = enum[sdk.Protocol, driverv1.Protocol]{
	sdk.ProtocolHTTP: driverv1.Protocol_PROTOCOL_HTTP,
	sdk.ProtocolTCP:  driverv1.Protocol_PROTOCOL_TCP,
}

var endpointStates = enum[sdk.EndpointState, driverv1.EndpointState]{
	sdk.EndpointUp:       driverv1.EndpointState_ENDPOINT_STATE_UP,
	sdk.EndpointDown:     driverv1.EndpointState_ENDPOINT_STATE_DOWN,
	sdk.EndpointDraining: driverv1.EndpointState_ENDPOINT_STATE_DRAINING,
}

func routeToWire(r sdk.Route) *driverv1.Route {
	w := &driverv1.Route{
		Id: r.ID, Generation: r.Generation, Listen: r.Listen, Protocol: protocols.toWire(r.Protocol),
		Host: r.Host, Path: r.Path, Drain: durationToWire(r.Drain), Config: r.Config, Pools: each(r.Pools, poolToWire),
	}
	if r.TLS != nil {
		w.Tls = &driverv1.TLS{CertificateFile: r.TLS.CertificateFile, KeyFile: r.TLS.KeyFile}
	}
	return w
}

func routeFromWire(w *driverv1.Route) sdk.Route {
	r := sdk.Route{
		ID: w.GetId(), Generation: w.GetGeneration(), Listen: w.GetListen(), Protocol: protocols.fromWire(w.GetProtocol()),
		Host: w.GetHost(), Path: w.GetPath(), Drain: w.GetDrain().AsDuration(), Config: jsonFromWire(w.GetConfig()),
		Pools: each(w.GetPools(), poolFromWire),
	}
	if t := w.GetTls(); t != nil {
		r.TLS = &sdk.TLS{CertificateFile: t.GetCertificateFile(), KeyFile: t.GetKeyFile()}
	}
	return r
}

func poolToWire(p sdk.Pool) *driverv1.Pool {
	return &driverv1.Pool{
		Revision: int64(p.Revision), Weight: int64(p.Weight), Preview: p.Preview,
		Endpoints: each(p.Endpoints, func(e sdk.Endpoint) *driverv1.Endpoint {
			return &driverv1.Endpoint{Id: e.ID, Address: e.Address}
		}),
	}
}

func poolFromWire(w *driverv1.Pool) sdk.Pool {
	return sdk.Pool{
		Revision: int(w.GetRevision()), Weight: int(w.GetWeight()), Preview: w.GetPreview(),
		Endpoints: each(w.GetEndpoints(), func(e *driverv1.Endpoint) sdk.Endpoint {
			return sdk.Endpoint{ID: e.GetId(), Address: e.GetAddress()}
		}),
	}
}

func observationToWire(o sdk.Observation) *driverv1.ObserveResponse {
	return &driverv1.ObserveResponse{
		Route: o.Route, Generation: o.Generation, Listening: o.Listening, Held: int64(o.Held),
		Pools: each(o.Pools, func(p sdk.PoolObservation) *driverv1.PoolObservation {
			return &driverv1.PoolObservation{
				Revision: int64(p.Revision), Weight: int64(p.Weight), Preview: p.Preview,
				Endpoints: each(p.Endpoints, endpointToWire),
			}
		}),
		Draining: each(o.Draining, endpointToWire),
	}
}

func observationFromWire(w *driverv1.ObserveResponse) sdk.Observation {
	return sdk.Observation{
		Route: w.GetRoute(), Generation: w.GetGeneration(), Listening: w.GetListening(), Held: int(w.GetHeld()),
		Pools: each(w.GetPools(), func(p *driverv1.PoolObservation) sdk.PoolObservation {
			return sdk.PoolObservation{
				Revision: int(p.GetRevision()), Weight: int(p.GetWeight()), Preview: p.GetPreview(),
				Endpoints: each(p.GetEndpoints(), endpointFromWire),
			}
		}),
		Draining: each(w.GetDraining(), endpointFromWire),
	}
}

func endpointToWire(e sdk.EndpointObservation) *driverv1.EndpointObservation {
	return &driverv1.EndpointObservation{
		Id: e.ID, Address: e.Address, State: endpointStates.toWire(e.State), InFlight: int64(e.InFlight),
		Requests: e.Requests, Errors: e.Errors,
		Latency: &driverv1.Latency{
			P50: durationToWire(e.Latency.P50), P90: durationToWire(e.Latency.P90), P99: durationToWire(e.Latency.P99),
			Max: durationToWire(e.Latency.Max), Count: e.Latency.Count,
		},
	}
}

func endpointFromWire(w *driverv1.EndpointObservation) sdk.EndpointObservation {
	l := w.GetLatency()
	return sdk.EndpointObservation{
		ID: w.GetId(), Address: w.GetAddress(), State: endpointStates.fromWire(w.GetState()), InFlight: int(w.GetInFlight()),
		Requests: w.GetRequests(), Errors: w.GetErrors(),
		Latency: sdk.Latency{
			P50: l.GetP50().AsDuration(), P90: l.GetP90().AsDuration(), P99: l.GetP99().AsDuration(),
			Max: l.GetMax().AsDuration(), Count: l.GetCount(),
		},
	}
}
