// Package lockfile keeps the SHA-256 of every driver binary that a node may launch, and where `instar driver install`
// got it from:
//
//	{
//	  "format": 1,
//	  "drivers": {"instar-compute-example": "sha256:…"},
//	  "installed": {"instar-compute-example": {"path": "…", "origin": "https://…", …}}
//	}
//
// It is one JSON file in the data directory that an operator may also keep under version control. Several programs
// change it, instard among them: each change holds an flock of the file's guard, and replaces the file as a whole.
package lockfile
