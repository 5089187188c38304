package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks are the ticks a second of the times in /proc. The number is the same on all systems that Go supports.
const ticks = 100

// machineCPU is the processor time that all programs of the machine have used, in seconds, and that of all processors
// together since the start.
func machineCPU() (busy, all float64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("the system does not show the use of its processors: %w", err)
	}
	return parseStat(string(text))
}

// parseStat reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
func parseStat(text string) (busy, all float64, err error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, errors.New("/proc/stat has another form than expected")
	}
	for i, f := range fields[1:9] {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/stat: %w", err)
		}
		all += v
		if i != 3 && i != 4 {
			busy += v // stolen time too: other machines on the same processors used it
		}
	}
	return busy / ticks, all / ticks, nil
}

// processCPU is the processor time that a process has used, user and system, in seconds; 0 if the system does not show it.
func processCPU(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field is the name in brackets, which may have spaces. The times are the fields 14 and 15.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseUint(fields[11], 10, 64) // 0 if it is no number
	system, _ := strconv.ParseUint(fields[12], 10, 64)
	return float64(user+system) / ticks
}

// written is the number of bytes that a process has caused to be written to disks, 0 if the system does not show it.
func written(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if value, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			n, _ := strconv.ParseUint(value, 10, 64) // 0 if it is no number
			return n
		}
	}
	return 0
}

// ownCPU is the processor time of this process, in seconds.
func ownCPU() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return seconds(r.Utime) + seconds(r.Stime)
}

func seconds(t syscall.Timeval) float64 {
	return time.Duration(t.Nano()).Seconds()
}
