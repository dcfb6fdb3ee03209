package fsm

import bolt "go.etcd.io/bbolt"

// Advance moves the Raft position without applying anything: entries up to index hold nothing more for
// the machine. Raft's log is cut up to where Raft believes the machine is, so the file must say as much.
// It may be called while Apply runs.
func (m *Machine) Advance(index, term uint64) error {
	if err := m.Failure(); err != nil {
		return err
	}
	if err := m.advance(index, term); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.position.RaftIndex < index {
		m.position.RaftIndex, m.position.RaftTerm = index, term
	}
	return nil
}

func (m *Machine) advance(index, term uint64) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.db == nil {
		return errClosed()
	}
	return m.db.Update(func(tx *bolt.Tx) error {
		position, err := readPosition(tx)
		if err != nil || position.RaftIndex >= index {
			return err
		}
		position.RaftIndex, position.RaftTerm = index, term
		return tx.Bucket(bucketState).Put(keyPosition, position.encode())
	})
}
