package fsm

// Advance brings everything to the file, durably, and moves the Raft position to index if nothing beyond
// it was applied: entries up to there hold nothing more for the machine. Raft's log is cut up to where Raft
// believes the machine is, so the file must say as much. The configuration replaces the one that the
// machine has, which is the same one unless Raft recovers a cluster from the loss of its quorum. It may
// be called while Apply runs.
func (m *Machine) Advance(index, term uint64, configuration []byte, configIndex uint64) error {
	m.advance(index, term, configuration, configIndex)
	return m.Flush()
}

func (m *Machine) advance(index, term uint64, configuration []byte, configIndex uint64) {
	m.applying.Lock()
	defer m.applying.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil || m.failure != nil || m.position.RaftIndex > index {
		return
	}
	m.position.RaftIndex, m.position.RaftTerm, m.position.ConfigIndex = index, term, configIndex
	m.growing.position, m.growing.dirty = m.position, true
	m.growing.configuration = seal(append([]byte(nil), configuration...))
}
