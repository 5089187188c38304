package bench

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// Machine describes the computer on which a report was measured.
type Machine struct {
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	CPUs        int    `json:"cpus"`                   // available to this process
	CPU         string `json:"cpu,omitempty"`          // model name from the operating system
	MemoryBytes uint64 `json:"memory_bytes,omitempty"` // total memory of the system
}

// ThisMachine is the computer that this program runs on.
func ThisMachine() Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), CPU: field("/proc/cpuinfo", "model name")}
	if kib, err := strconv.ParseUint(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.MemoryBytes = kib << 10
	}
	return m
}

// field is the first value of a name in a file of lines such as "name : value". It is empty on systems without that
// file.
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Version describes the build of this program.
type Version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified"` // the tree had changes that are not in the revision
	Built    string `json:"revision_time,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// ThisVersion is the build of this program, with this name of its version.
func ThisVersion(version string) Version {
	v := Version{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	settings := ThisBuild()
	v.Revision, v.Built, v.Modified = settings["vcs.revision"], settings["vcs.time"], settings["vcs.modified"] == "true"
	return v
}

// ThisBuild are the settings with which the compiler built this program.
func ThisBuild() map[string]string {
	out := make(map[string]string)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			out[s.Key] = s.Value
		}
	}
	return out
}
