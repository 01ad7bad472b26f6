// Package build says which build of HelixFlow this is: from the linker where
// make set it, otherwise from what the Go toolchain recorded.
package build

import (
	"runtime"
	"runtime/debug"
)

// The linker sets these (-ldflags -X); nothing else assigns them.
var (
	version string
	commit  string
)

// unknown stands for what neither the linker nor the toolchain recorded.
const unknown = "unknown"

// Version is which build this is. A plain value.
type Version struct {
	Version string `json:"version"` // a tag, perhaps with distance and commit; "dev" without one
	Commit  string `json:"commit"`  // the full revision, with "-dirty" for a changed tree
	Go      string `json:"go"`      // the toolchain, "go1.26.0"
	System  string `json:"system"`  // operating system and architecture, "linux/amd64"
}

// Info returns the version of the running binary. It is safe for concurrent use.
func Info() Version {
	recorded, ok := debug.ReadBuildInfo()
	if !ok {
		recorded = new(debug.BuildInfo)
	}
	return describe(version, commit, recorded)
}

// describe prefers what the linker set: the toolchain knows no tag for a build
// of the main module outside of a module proxy, and no commit without git.
func describe(version, commit string, recorded *debug.BuildInfo) Version {
	v := Version{
		Version: version, Commit: commit,
		Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if v.Version == "" {
		v.Version = recorded.Main.Version
	}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "dev"
	}
	if v.Commit == "" {
		v.Commit = recordedCommit(recorded.Settings)
	}
	return v
}

func recordedCommit(settings []debug.BuildSetting) string {
	revision, suffix := unknown, ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision" && s.Value != "":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			suffix = "-dirty"
		}
	}
	if revision == unknown {
		return unknown
	}
	return revision + suffix
}

// String returns one line for a terminal: "helixflow v0.1.0 (abc123, go1.26.0,
// linux/amd64)".
func (v Version) String() string {
	return "helixflow " + v.Version + " (" + v.Commit + ", " + v.Go + ", " + v.System + ")"
}
