package main

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"

	"bdtnode/cmd/bdtnode/load"
	"bdtnode/cmd/bdtnode/netup"
)

// machine describes the computer on which a report was measured.
type machine struct {
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	CPUs        int    `json:"cpus"`                   // available to this process
	CPU         string `json:"cpu,omitempty"`          // model name from the operating system
	MemoryBytes uint64 `json:"memory_bytes,omitempty"` // total memory of the system
}

func thisMachine() machine {
	m := machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), CPU: field("/proc/cpuinfo", "model name")}
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

// parameters are the settings of a run, with which it can be repeated. Shards, nodes, rate and seed are separate fields
// of a report.
type parameters struct {
	ForSeconds        float64 `json:"for_s"` // 0: until interrupted
	Cross             float64 `json:"cross"`
	Invalid           float64 `json:"invalid"`
	Fault             string  `json:"fault"` // empty: none
	FaultEverySeconds float64 `json:"fault_every_s"`
	Consensus         string  `json:"consensus"`
	LogLevel          string  `json:"log_level"`
	LeastFee          uint64  `json:"least_fee"`
	HorizonMS         uint64  `json:"horizon_ms"`
	Resumed           bool    `json:"resumed"` // the network had run before
	DrainSeconds      float64 `json:"drain_s"` // how long a run waits for answers after the load
	MaxInFlight       int     `json:"max_in_flight"`
}

// parameters returns the settings of a run with these flags.
func (f *netFlags) parameters(c *netup.Cluster) parameters {
	p := parameters{
		ForSeconds: f.duration.Seconds(), Cross: f.cross, Invalid: f.invalid, Fault: f.fault, Consensus: f.consensus,
		LogLevel: f.logLevel, LeastFee: c.Genesis.Parameters.LeastFee, HorizonMS: c.Genesis.HorizonMS, Resumed: f.resumed,
		DrainSeconds: load.DefaultDrain.Seconds(), MaxInFlight: load.DefaultMaxInFlight,
	}
	if f.fault != "" {
		p.FaultEverySeconds = f.faultEvery.Seconds()
	}
	return p
}
