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

// Check is one named promise of the contract.
type Check struct {
	Name string
	Run  func(T)
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
		t.Run(c.Name, func(t R) { c.Run(t) })
	}
}
