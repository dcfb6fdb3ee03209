package raftstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkPropose is for profiles; e2e/bench/store is for figures.
func BenchmarkPropose(b *testing.B) {
	for _, writers := range []int{1, 256} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := openStore(b, Config{Dir: b.TempDir()})
			b.ReportAllocs()
			var next atomic.Int64
			var group sync.WaitGroup
			b.ResetTimer()
			for range writers {
				group.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						if _, err := s.Propose(context.Background(), writeTxn(fmt.Sprint(n), "x")); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
		})
	}
}
