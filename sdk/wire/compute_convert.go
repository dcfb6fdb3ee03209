package wire

import (
	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire/driverv1"
)

var instanceStates = enum[sdk.InstanceState, driverv1.InstanceState]{
	sdk.StateCreating:  driverv1.InstanceState_INSTANCE_STATE_CREATING,
	sdk.StateRunning:   driverv1.InstanceState_INSTANCE_STATE_RUNNING,
	sdk.StateExited:    driverv1.InstanceState_INSTANCE_STATE_EXITED,
	sdk.StateDestroyed: driverv1.InstanceState_INSTANCE_STATE_DESTROYED,
}

func artifactToWire(a sdk.Artifact) *driverv1.Artifact {
	return &driverv1.Artifact{Source: a.Source, Checksum: a.Checksum, Digest: a.Digest}
}

func artifactFromWire(a *driverv1.Artifact) sdk.Artifact {
	return sdk.Artifact{Source: a.GetSource(), Checksum: a.GetChecksum(), Digest: a.GetDigest()}
}

func specToWire(s sdk.InstanceSpec) *driverv1.CreateRequest {
	return &driverv1.CreateRequest{
		Id: s.ID, Cluster: s.Cluster, Generation: s.Generation, Service: s.Service,
		Revision: int64(s.Revision), RevisionDigest: s.RevisionDigest,
		Artifact: artifactToWire(s.Artifact), Config: s.Config, Env: s.Env,
		Ports: each(s.Ports, func(p sdk.Port) *driverv1.Port {
			return &driverv1.Port{Name: p.Name, Number: int32(p.Number)}
		}),
		Resources: resourcesToWire(s.Resources),
		Mounts: each(s.Mounts, func(m sdk.Mount) *driverv1.Mount {
			return &driverv1.Mount{Path: m.Path, Data: m.Data, Mode: m.Mode}
		}),
		Grace: durationToWire(s.Grace),
	}
}

func specFromWire(s *driverv1.CreateRequest) sdk.InstanceSpec {
	return sdk.InstanceSpec{
		ID: s.GetId(), Cluster: s.GetCluster(), Generation: s.GetGeneration(), Service: s.GetService(),
		Revision: int(s.GetRevision()), RevisionDigest: s.GetRevisionDigest(),
		Artifact: artifactFromWire(s.GetArtifact()), Config: jsonFromWire(s.GetConfig()), Env: s.GetEnv(),
		Ports: each(s.GetPorts(), func(p *driverv1.Port) sdk.Port {
			return sdk.Port{Name: p.GetName(), Number: int(p.GetNumber())}
		}),
		Resources: resourcesFromWire(s.GetResources()),
		Mounts: each(s.GetMounts(), func(m *driverv1.Mount) sdk.Mount {
			return sdk.Mount{Path: m.GetPath(), Data: m.GetData(), Mode: m.GetMode()}
		}),
		Grace: s.GetGrace().AsDuration(),
	}
}

func instanceToWire(i sdk.Instance) *driverv1.Instance {
	w := &driverv1.Instance{
		Id: i.ID, Cluster: i.Cluster, Generation: i.Generation, Service: i.Service,
		Revision: int64(i.Revision), RevisionDigest: i.RevisionDigest, State: instanceStates.toWire(i.State),
		Addresses: i.Addresses, Fingerprint: i.Fingerprint, Created: timeToWire(i.Created),
	}
	if i.Exit != nil {
		w.Exit = &driverv1.Exit{
			Code: int32(i.Exit.Code), Signal: i.Exit.Signal, Oom: i.Exit.OOM,
			Message: text(i.Exit.Message), At: timeToWire(i.Exit.At),
		}
	}
	return w
}

func instanceFromWire(w *driverv1.Instance) sdk.Instance {
	i := sdk.Instance{
		ID: w.GetId(), Cluster: w.GetCluster(), Generation: w.GetGeneration(), Service: w.GetService(),
		Revision: int(w.GetRevision()), RevisionDigest: w.GetRevisionDigest(), State: instanceStates.fromWire(w.GetState()),
		Addresses: w.GetAddresses(), Fingerprint: w.GetFingerprint(), Created: timeFromWire(w.GetCreated()),
	}
	if e := w.GetExit(); e != nil {
		i.Exit = &sdk.Exit{
			Code: int(e.GetCode()), Signal: e.GetSignal(), OOM: e.GetOom(),
			Message: e.GetMessage(), At: timeFromWire(e.GetAt()),
		}
	}
	return i
}

func lineToWire(l sdk.LogLine) *driverv1.LogsResponse {
	return &driverv1.LogsResponse{Time: timeToWire(l.Time), Stream: l.Stream, Text: text(l.Text)}
}

func lineFromWire(w *driverv1.LogsResponse) sdk.LogLine {
	return sdk.LogLine{Time: timeFromWire(w.GetTime()), Stream: w.GetStream(), Text: w.GetText()}
}

func usageToWire(u sdk.Usage) *driverv1.UsageSample {
	return &driverv1.UsageSample{Id: u.ID, At: timeToWire(u.At), CpuNanos: u.CPUNanos, Memory: u.Memory}
}

func usageFromWire(w *driverv1.UsageSample) sdk.Usage {
	return sdk.Usage{ID: w.GetId(), At: timeFromWire(w.GetAt()), CPUNanos: w.GetCpuNanos(), Memory: w.GetMemory()}
}
