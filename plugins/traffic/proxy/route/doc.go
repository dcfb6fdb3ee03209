// Package route is what the proxy knows of its routes: which request belongs to which route (Table), and
// for each route its pools, its endpoints, the requests in flight on them, and what they have measured.
//
// A request claims an endpoint with Route.Claim, under the same lock under which Route.Apply replaces the
// pools. So every request is in flight on exactly one endpoint of the pools as they were at one moment, and
// once Apply has returned no claim can give an endpoint that is no longer wanted. Hold works inside the
// same lock: a held request gets its endpoint from Release itself, not from a wake-up that could come
// before or after a switch.
package route
