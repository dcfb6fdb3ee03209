package installed

import (
	"fmt"
	"slices"
	"strings"

	"github.com/instarhq/instar/core"
)

// Use is what of the node's drivers is in use.
type Use struct {
	Node      string            // the node's name; empty: nobody knows
	Asked     bool              // the daemon has answered; otherwise Targets is what it had at its last start
	Targets   []UsedTarget      // configured
	Instances []core.Instance   // of the node; only if Asked
	Drivers   []core.DriverView // of the node; only if Asked
}

// UsedTarget is a configured target.
type UsedTarget struct {
	Kind   core.DriverKind
	Driver string
	Name   string
}

// Recorded is the use as the data directory tells it, for when the daemon cannot be asked.
func (m Machine) Recorded() (Use, error) {
	r, err := m.recorded()
	u := Use{Node: r.Node}
	for _, t := range r.Targets {
		u.Targets = append(u.Targets, UsedTarget{t.Kind, t.Driver, t.Name})
	}
	return u, err
}

// Of joins what a daemon says of all nodes to the use of one. Targets that are recorded count as well: one that the
// daemon does not publish yet, or has not ended yet, still uses its driver.
func (u Use) Of(node string, drivers []core.DriverView, instances []core.Instance) Use {
	u.Node, u.Asked = node, true
	for _, d := range drivers {
		if d.Driver.Node != node {
			continue
		}
		u.Drivers = append(u.Drivers, d)
		for _, t := range d.Targets {
			used := UsedTarget{d.Driver.Kind, d.Driver.Name, t.Target.Name}
			if t.Node == node && !slices.Contains(u.Targets, used) {
				u.Targets = append(u.Targets, used)
			}
		}
	}
	for _, i := range instances {
		if i.Node == node {
			u.Instances = append(u.Instances, i)
		}
	}
	return u
}

// targets are the names of a driver's targets.
func (u Use) targets(kind core.DriverKind, driver string) []string {
	names := []string{}
	for _, t := range u.Targets {
		if t.Kind == kind && t.Driver == driver {
			names = append(names, t.Name)
		}
	}
	return names
}

// instances are the ids of a compute driver's instances.
func (u Use) instances(kind core.DriverKind, driver string) []string {
	ids := []string{}
	for i := range u.Instances {
		if kind == core.DriverCompute && u.Instances[i].Driver == driver {
			ids = append(ids, u.Instances[i].ID)
		}
	}
	return ids
}

// refuse says who uses a driver, if anybody does.
func (u Use) refuse(kind core.DriverKind, driver string) error {
	targets, instances := u.targets(kind, driver), u.instances(kind, driver)
	var by []string
	if len(targets) > 0 {
		by = append(by, fmt.Sprintf("target %s", strings.Join(targets, ", ")))
	}
	if n := len(instances); n > 0 {
		by = append(by, fmt.Sprintf("%d instances (%s)", n, strings.Join(instances[:min(n, 5)], ", ")))
	}
	if len(by) == 0 {
		return nil
	}
	e := core.Errorf(core.CodeConflict, "the %s driver %s is in use by %s", kind, driver, strings.Join(by, " and "))
	if len(instances) > 0 {
		return e.WithHint("delete or move its services, take its target out of the configuration, restart instard; or -force")
	}
	return e.WithHint("take its target out of instard's configuration and restart instard; or -force")
}
