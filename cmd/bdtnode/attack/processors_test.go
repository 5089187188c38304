package attack

import (
	"os"
	"strconv"
	"strings"
)

// processors are the ticks of all processors since the start of the machine: those that the hypervisor gave to others, and all.
// They are zero where /proc/stat is missing.
type processors struct{ steal, all float64 }

func readProcessors() (p processors) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return processors{}
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line) // cpu, user, nice, system, idle, iowait, irq, softirq, steal, and parts of user and nice
	for i := 1; i < min(len(fields), 9); i++ {
		ticks, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return processors{}
		}
		p.all += ticks
		if i == 8 {
			p.steal = ticks
		}
	}
	return p
}

// stolen is the share of the machine's processors that the hypervisor gave to others since p was read. If it differs between
// the two loads, their latencies cannot be compared.
func (p processors) stolen() float64 {
	now := readProcessors()
	if now.all <= p.all {
		return 0
	}
	return (now.steal - p.steal) / (now.all - p.all)
}
