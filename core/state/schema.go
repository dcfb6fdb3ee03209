package state

import (
	"fmt"

	"github.com/hashicorp/go-memdb"

	"github.com/instarhq/instar/core"
)

// schema has one table per kind, each with the primary key and the same three optional indexes.
func schema() *memdb.DBSchema {
	s := &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{}}
	for kind := range decoders {
		s.Tables[string(kind)] = table(kind)
	}
	return s
}

func table(kind core.Kind) *memdb.TableSchema {
	secondary := func(index Index, key func(keys) string) *memdb.IndexSchema {
		return &memdb.IndexSchema{
			Name: string(index), AllowMissing: true,
			Indexer: indexer{func(e *entry) string { return key(e.keys) }},
		}
	}
	return &memdb.TableSchema{
		Name: string(kind),
		Indexes: map[string]*memdb.IndexSchema{
			"id":              {Name: "id", Unique: true, Indexer: indexer{func(e *entry) string { return e.id }}},
			string(ByService): secondary(ByService, func(k keys) string { return k.service }),
			string(ByNode):    secondary(ByNode, func(k keys) string { return k.node }),
			string(ByParent):  secondary(ByParent, func(k keys) string { return k.parent }),
		},
	}
}

// indexer indexes entries by one string; the trailing NUL keeps "web" from matching "web2".
type indexer struct{ key func(*entry) string }

func (i indexer) FromObject(raw any) (bool, []byte, error) {
	e, ok := raw.(*entry)
	if !ok {
		return false, nil, fmt.Errorf("%T is no entry", raw)
	}
	k := i.key(e)
	return k != "", []byte(k + "\x00"), nil
}

func (i indexer) FromArgs(args ...any) ([]byte, error) {
	b, err := i.PrefixFromArgs(args...)
	return append(b, 0), err
}

func (indexer) PrefixFromArgs(args ...any) ([]byte, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("want one argument, not %d", len(args))
	}
	s, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("%T is no string", args[0])
	}
	return []byte(s), nil
}
