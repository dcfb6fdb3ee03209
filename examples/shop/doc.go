// Shop is the example workload of instar: a small web shop with pages, a JSON catalogue, orders and a
// WebSocket, in one binary without any state of its own.
//
// It behaves as a service that wants to be replaced without anybody noticing should: it says which
// revision answered, it reports its health apart from its ability to serve, and on SIGTERM it becomes
// unhealthy, serves until its customers are sent elsewhere, stops listening, finishes what has begun,
// tells its WebSocket peers that it goes away, and only then ends.
//
// Its configuration is the file etc/shop.json (see Config), which instar mounts from a config object;
// each field can also be set by an environment variable. The fault settings make it misbehave in the
// ways that a rollout must cope with.
package main
