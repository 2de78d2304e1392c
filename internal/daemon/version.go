package daemon

import "runtime/debug"

// version is set by the linker: -X github.com/dokkaa/dokkaa/internal/daemon.version=v1.2.3.
var version string

// Version is the version that this binary was built as, "devel" where the build did not say.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
