// Package state is the typed, indexed view of the store that every loop of a daemon reads.
//
// A State follows the change feed and keeps all current objects in memory, in B-trees that copy on
// write: a View is a consistent snapshot that costs nothing to take. Objects are read through typed
// tables:
//
//	view := st.View()
//	svc, ok := state.Services.Get(view, "web")
//	for id, inst := range state.Instances.By(view, state.ByService, "web") { … }
//
// and written in Update, which runs a function on a snapshot, proposes what it wrote with the sequence
// numbers that it saw as preconditions, and runs it again when somebody else was faster:
//
//	receipt, err := st.Update(ctx, meta, func(tx *state.Tx) error {
//		svc, _ := state.Services.Get(tx, "web")
//		svc.Count = 5
//		state.Services.Put(tx, "web", svc)
//		return nil
//	})
//
// Values are shared between readers: change a copy of a slice or map, never the one that Get returned.
package state
