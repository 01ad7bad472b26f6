package build

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDescribe(t *testing.T) {
	f := func(version, commit string, recorded debug.BuildInfo, wantVersion, wantCommit string) {
		t.Helper()
		system := runtime.GOOS + "/" + runtime.GOARCH
		assert.Equal(t, Version{wantVersion, wantCommit, runtime.Version(), system}, describe(version, commit, &recorded))
	}
	module := func(version string, settings ...debug.BuildSetting) debug.BuildInfo {
		return debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "abc123"}
	clean := debug.BuildSetting{Key: "vcs.modified", Value: "false"}
	dirty := debug.BuildSetting{Key: "vcs.modified", Value: "true"}

	f("", "", module(""), "dev", "unknown")
	f("", "", module("(devel)"), "dev", "unknown")
	f("", "", module("(devel)", dirty), "dev", "unknown")
	f("", "", module("v0.1.0", revision, clean), "v0.1.0", "abc123")
	f("", "", module("(devel)", dirty, revision), "dev", "abc123-dirty")
	f("v0.2.0", "def456", module("(devel)", revision, dirty), "v0.2.0", "def456")
	f("v0.2.0", "", module("v0.1.0", revision), "v0.2.0", "abc123")
}

func TestInfo(t *testing.T) {
	got := Info()
	assert.Equal(t, runtime.Version(), got.Go)
	assert.NotEmpty(t, got.Version)
	assert.NotEmpty(t, got.Commit)
}

func TestString(t *testing.T) {
	v := Version{"v0.1.0", "abc123", "go1.26.0", "linux/amd64"}
	assert.Equal(t, "helixflow v0.1.0 (abc123, go1.26.0, linux/amd64)", v.String())
}
