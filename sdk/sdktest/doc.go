// Package sdktest holds the conformance suites that every driver must pass, drivers without a backend, and
// the means to run a driver over real gRPC in one process.
//
// A driver's test is short:
//
//	func TestConformance(t *testing.T) {
//		sdktest.Compute(t, func(t sdktest.T) sdktest.ComputeFixture { … })
//	}
//
// The same checks run without the testing package: package verify runs them against any driver binary.
package sdktest
