package telemetry

import "time"

var (
	nodeIsReady     = gauge("instar_node_ready", "Whether this node's replica has caught up and a leader is known, as /readyz says.")
	heartbeatAge    = gauge("instar_heartbeat_acknowledged_age_seconds", "How long ago this node sent the newest heartbeat that the leader has taken.")
	certificateEnd  = gauge("instar_certificate_expiry_timestamp_seconds", "When a certificate that this node uses ends: its own (node), or the newest authority's (ca).", "certificate")
	driverIsHealthy = gauge("instar_driver_healthy", "Whether a target of this node is healthy.", "kind", "driver", "target")
	driverLaunches  = counter("instar_driver_launches_total", "Processes of a target's driver that this instard has started. One that was running when instard started is not counted.", "kind", "driver", "target")
	driverIncidents = counter("instar_driver_failures_total", "How often a target's driver was away: its process ended or hung, or did not come up.", "kind", "driver", "target")
	driverCores     = gauge("instar_driver_capacity_cpu_cores", "Cores that a compute target says it has, 0 if it does not say.", "driver", "target")
	driverMemory    = gauge("instar_driver_capacity_memory_bytes", "Memory that a compute target says it has, 0 if it does not say.", "driver", "target")
)

// nodeFigures are what this node says of itself.
func (o out) nodeFigures(s *Sources) {
	if s.Ready != nil {
		o.flag(nodeIsReady, s.Ready() == "")
	}
	if s.Acknowledged != nil {
		if at := s.Acknowledged(); !at.IsZero() {
			o.put(heartbeatAge, time.Since(at).Seconds())
		}
	}
	if s.Certificates != nil {
		for what, end := range s.Certificates() {
			o.moment(certificateEnd, end, what)
		}
	}
	if s.Drivers == nil {
		return
	}
	for _, d := range s.Drivers() {
		kind := string(d.Kind)
		o.flag(driverIsHealthy, d.Healthy, kind, d.Driver, d.Name)
		o.put(driverLaunches, float64(d.Launches), kind, d.Driver, d.Name)
		o.put(driverIncidents, float64(d.Failures), kind, d.Driver, d.Name)
		if kind == "compute" {
			o.put(driverCores, float64(d.Capacity.CPU)/1000, d.Driver, d.Name)
			o.put(driverMemory, float64(d.Capacity.Memory), d.Driver, d.Name)
		}
	}
}
