// Package docker is the compute driver that runs instances as containers of a Docker Engine, or of anything
// that speaks its API, such as Podman's compatible socket.
//
// # What an instance is
//
// One container, made from an image that was pinned by its digest when the service was applied. It has no
// restart policy: an instance that ends is replaced by another one, never started again. Its name and its
// labels say whose it is, so that it can be found from the engine alone; containers without both are never
// touched.
//
// The container listens on the service's ports inside its network, and the engine publishes each on an
// address of the target. Config mounts are read-only files. The environment holds the image's, the service's
// env, and INSTAR_INSTANCE, INSTAR_CLUSTER, INSTAR_GENERATION, INSTAR_SERVICE, INSTAR_REVISION,
// INSTAR_REVISION_DIGEST and INSTAR_PORT_NAME for every port. Health checks of the image are switched off:
// the service declares its own, and they are what counts.
//
// DESIGN.md tells how Create survives every crash, and what counts as drift.
package docker

// doc is what `instar driver docs docker` begins with.
const doc = "Runs instances as containers of a Docker Engine (20.10 and later), or of Podman by its compatible socket. The " +
	"artifact's source is an image: NAME:TAG and NAME@DIGEST are pinned by what the registry has, an image that only the " +
	"engine has by its id. Ports are published on an address of the target: give each port the number that the program in " +
	"the container listens on, or tell the program ${port.NAME}. There is no restart policy; what ends is replaced."
