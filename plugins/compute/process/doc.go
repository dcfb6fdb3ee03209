// Package process is the compute driver that runs instances as plain processes of the node. It needs no
// daemon, no images and no privileges, and uses what privileges it has to take them away from instances.
//
// # What an instance sees
//
// Its own directory ($INSTAR_DIR, also $HOME) is where it starts, unless working_dir says otherwise. The
// artifact is there too: each of its top-level entries is a link into the read-only tree of the artifact
// ($INSTAR_ARTIFACT), an empty directory of it is a real one that the instance can write to, and an
// artifact that is a single program has the name that it had at its source. So ["./web", "-listen",
// ":${port.http}"] works from any kind of artifact. Everything that is not the artifact's or a mount can
// be created and written freely, and is gone with the instance. Mounts are read-only files at their path
// in that directory; a mount below a directory of the artifact makes it a real directory with links to
// the rest, and a mount in the place of one of its files hides it.
//
// The environment holds PATH, HOME, TMPDIR and LANG, the service's env, and INSTAR_INSTANCE,
// INSTAR_CLUSTER, INSTAR_GENERATION, INSTAR_SERVICE, INSTAR_REVISION, INSTAR_REVISION_DIGEST, INSTAR_DIR,
// INSTAR_ARTIFACT and INSTAR_PORT_NAME for every port; nothing of the driver's. Standard input is
// /dev/null; standard output and error are files: open /dev/stdout for appending if it must be opened.
//
// The main process is the instance: when it ends, the instance has exited, and everything that it has
// left behind is killed. So a program has to stay in the foreground.
//
// # When the driver is root
//
// Each instance runs as a user of its own, from uid_range (or as the target's user), without
// capabilities, with no_new_privs, in a session and a control group of its own, and in a mount namespace
// in which the driver's state is hidden but for the instance's directory and its artifact, the latter
// mounted read-only.
//
// DESIGN.md tells how instances survive the driver, and why none is ever started twice.
package process

// doc is what `instar driver docs process` begins with.
const doc = "Runs instances as plain processes of the node, from an archive (tar, tar.gz, tar.zst), a directory or a single " +
	"program, unpacked read-only by digest; or, without an artifact, from a program that the node has. An instance starts in " +
	"a directory of its own in which the artifact's entries are linked and configuration is mounted, gets its ports as " +
	"${port.NAME} and INSTAR_PORT_NAME, must listen on them and stay in the foreground, and runs without privileges, in a " +
	"control group where the node offers it."
