package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/instarhq/instar/core"
)

const (
	lagging     = 1000                // records behind that are worth a line
	expiresSoon = 14 * 24 * time.Hour // a certificate that should have been renewed long before
)

// risks says what an operator should know, worst first.
func risks(s *core.ClusterStatus, now time.Time) []core.Risk {
	out := []core.Risk{}
	add := func(severity core.Severity, node, hint, format string, args ...any) {
		out = append(out, core.Risk{Severity: severity, Node: node, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	if s.Leader == "" {
		add(core.SeverityCritical, "", "most of the voters must be there and reach each other; for a quorum that is lost for good: instard cluster recover",
			"no leader is known: writes have to wait")
	}
	for i := range s.Members {
		memberRisks(&s.Members[i], now, add)
	}
	quorumRisks(s, add)
	versionRisks(s, add)
	if s.Recovery != nil && s.Recovery.Approved.IsZero() {
		add(core.SeverityWarning, "", "instar recovery show tells what was found", "the cluster was restored and only looks until that is approved")
	}
	order := map[core.Severity]int{core.SeverityCritical: 0, core.SeverityWarning: 1, core.SeverityNotice: 2}
	slices.SortStableFunc(out, func(a, b core.Risk) int { return order[a.Severity] - order[b.Severity] })
	return out
}

type addRisk func(severity core.Severity, node, hint, format string, args ...any)

func memberRisks(m *core.MemberView, now time.Time, add addRisk) {
	name := m.Member.Name
	switch {
	case m.Member.State == core.MemberLeaving:
		add(core.SeverityNotice, name, "", "%s is leaving: %s", name, m.Member.Reason)
	case !m.Reachable && m.Voter:
		add(core.SeverityWarning, name, "bring it back; if it is lost: instar cluster remove "+name, "voter %s cannot be reached%s", name, since(m))
	case !m.Reachable:
		add(core.SeverityWarning, name, "bring it back; if it is lost: instar cluster remove "+name, "%s cannot be reached%s", name, since(m))
	case m.Lag > lagging:
		add(core.SeverityWarning, name, "", "%s is %d records behind", name, m.Lag)
	}
	if m.Reachable && !m.Voter && m.Member.Role == core.RoleVoter && m.Member.State == core.MemberActive {
		add(core.SeverityNotice, name, "", "%s does not vote yet: it is promoted when it has kept up for a while", name)
	}
	if m.Reachable && m.Voter && m.Replica != nil && !m.Replica.CA {
		add(core.SeverityWarning, name, "it gets the key from another voter when it leads; if none has it, nothing can join", "voter %s does not have the CA's key", name)
	}
	if !m.Expires.IsZero() && m.Expires.Sub(now) < expiresSoon {
		add(core.SeverityWarning, name, "it renews by itself while there is a leader; see the log of instard there",
			"the certificate of %s expires on %s", name, m.Expires.Format(time.DateOnly))
	}
	if m.Member.Drain != nil {
		add(core.SeverityNotice, name, "instar node undrain "+name, "%s is drained since %s", name, m.Member.Drain.Since.Format("2006-01-02 15:04"))
	}
}

func since(m *core.MemberView) string {
	if m.Status == nil || m.Status.State == core.NodeReady {
		return ""
	}
	return fmt.Sprintf(": %s since %s", m.Status.State, m.Status.Since.Format("2006-01-02 15:04:05"))
}

func quorumRisks(s *core.ClusterStatus, add addRisk) {
	switch {
	case s.Voters == 1:
		add(core.SeverityWarning, "", "let two more voters join: instar cluster token create", "there is one voter: if it is lost, so is the cluster's state since the last snapshot")
	case s.Leader != "" && s.Tolerates == 0:
		add(core.SeverityCritical, "", "bring the missing voters back, or let new ones join", "no further voter may fail: %d of %d must agree", s.Quorum, s.Voters)
	}
	if s.Voters > 1 && s.Voters%2 == 0 {
		add(core.SeverityNotice, "", "add or remove one", "%d voters tolerate no more failures than %d", s.Voters, s.Voters-1)
	}
}

func versionRisks(s *core.ClusterStatus, add addRisk) {
	var versions, old []string
	newest := s.Level
	for _, m := range s.Members {
		if m.Replica == nil {
			continue
		}
		if !slices.Contains(versions, m.Replica.Version) {
			versions = append(versions, m.Replica.Version)
		}
		newest = max(newest, m.Replica.Level)
	}
	if len(versions) > 1 {
		slices.Sort(versions)
		add(core.SeverityNotice, "", "finish the upgrade", "several versions of instard are running: %s", strings.Join(versions, ", "))
	}
	for _, m := range s.Members {
		if m.Replica != nil && m.Replica.Level < newest {
			old = append(old, m.Member.Name)
		}
	}
	if len(old) > 0 {
		add(core.SeverityNotice, "", "", "stored formats stay at level %d as long as %s reads no newer ones", s.Level, strings.Join(old, ", "))
	}
}
