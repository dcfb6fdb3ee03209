package sdktest

import "context"

// T is what a check needs of its surroundings; *testing.T is one.
type T interface {
	Name() string
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any) // does not return
	Skipf(format string, args ...any)  // does not return
	Failed() bool
	Context() context.Context // ends just before the cleanups
	Cleanup(func())
	TempDir() string
}

// Check is one named promise of the contract. Names are stable: reports, JUnit files and baselines of vendors
// go by them. A promise that is sharpened keeps its name; one that is new gets a new one.
type Check struct {
	Name    string // "create/same-id-once"
	Promise string // what the contract wants, with the invariant that it upholds if it does
	Run     func(T)
}

// Runner is a T that can run parts of itself under their own names; *testing.T is one.
type Runner[Self any] interface {
	T
	Run(name string, f func(Self)) bool
}

// run runs checks as subtests.
func run[R interface {
	T
	Runner[R]
}](t R, checks []Check) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.Name, func(t R) {
			defer func() {
				if t.Failed() {
					t.Logf("the contract: %s", c.Promise)
				}
			}()
			c.Run(t)
		})
	}
}
