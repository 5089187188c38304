package bench

import (
	"context"
	"sync"

	"bdtnode/cmd/bdtnode/load"
)

// Target is a replica whose use of resources is measured.
type Target struct {
	Shard   uint16
	Replica uint16
	URL     func() string // of its API now
	PID     int           // process on this machine, 0 if it may run on another one
}

// Meter measures the replicas, this program and the machine in a time between two calls.
type Meter struct {
	// Readers is the process that reads the replicas' events and metrics, 0 if there is none.
	Readers int

	targets []Target
	before  reading
	after   reading
}

// NewMeter returns a meter of these replicas.
func NewMeter(targets []Target) *Meter { return &Meter{targets: targets} }

// reading is the use of resources at one moment.
type reading struct {
	replicas   []*usage // nil where it is not known
	why        []string
	written    []uint64
	own        float64
	readers    float64
	busy, all  float64
	machineWhy string
}

// Mark reads the use of resources at the begin or at the end of the measured time.
func (m *Meter) Mark(begins bool) {
	r := m.read()
	if begins {
		m.before = r
	} else {
		m.after = r
	}
}

func (m *Meter) read() reading {
	n := len(m.targets)
	r := reading{replicas: make([]*usage, n), why: make([]string, n), written: make([]uint64, n), own: ownCPU()}
	var work sync.WaitGroup
	for i := range m.targets {
		work.Go(func() {
			u, err := scrape(context.Background(), m.targets[i].URL())
			if err != nil {
				r.why[i] = err.Error()
				return
			}
			r.replicas[i] = u
			if pid := m.targets[i].PID; pid != 0 {
				r.written[i] = written(pid)
			}
		})
	}
	work.Wait()
	if m.Readers != 0 {
		r.readers = processCPU(m.Readers)
	}
	var err error
	if r.busy, r.all, err = machineCPU(); err != nil {
		r.machineWhy = err.Error()
	}
	return r
}

// RunOf is the run of a load with the use of resources in its measured time.
func (m *Meter) RunOf(result *load.Result, seed uint64) Run {
	r := Run{
		Outcome: OutcomeOf(result), Partial: result.Partial, Seconds: result.Measured.Seconds(), Seed: seed,
		Accepted: result.Accepted, Kinds: result.Distributions, Replicas: []Replica{},
	}
	if r.Seconds > 0 {
		r.Sent = float64(r.Submitted) / r.Seconds
		r.Offered = float64(r.Submitted+r.Unsent) / r.Seconds
	}
	r.Wire.PayloadBytes = result.WithinBytes
	if m.before.replicas == nil || m.after.replicas == nil {
		r.CPU.Why = "the measured time did not end"
		return r
	}
	m.addReplicas(&r, result.Within)
	m.addMachine(&r, result.Within)
	return r
}

// addReplicas adds the differences of the replicas' readings.
func (m *Meter) addReplicas(r *Run, settled uint64) {
	var syncs uint64
	for i, t := range m.targets {
		x := Replica{Shard: t.Shard, Replica: t.Replica, Missing: m.before.why[i] + m.after.why[i]}
		if a, b := m.before.replicas[i], m.after.replicas[i]; a != nil && b != nil && b.cpuSeconds >= a.cpuSeconds {
			used := b.cpuSeconds - a.cpuSeconds
			r.NodeCPUSeconds += used
			x.CPUPer1000 = per1000(used, settled)
			x.ResidentBytes, x.HeapBytes, x.DiskBytes = b.resident, b.heap, int64(b.disk)-int64(a.disk)
			x.Syncs, x.SentBytes = b.syncs-a.syncs, b.sent-a.sent
			if m.before.written[i] > 0 {
				x.WrittenBytes = m.after.written[i] - m.before.written[i]
			}
			syncs += x.Syncs
			r.Wire.SentBytes += x.SentBytes
		} else if x.Missing == "" {
			x.Missing = "it was started again in the measured time"
		}
		r.Replicas = append(r.Replicas, x)
	}
	if settled > 0 {
		r.SyncsPerTx = float64(syncs) / float64(settled)
	}
	if r.Wire.PayloadBytes > 0 {
		r.Wire.PerByte = float64(r.Wire.SentBytes) / float64(r.Wire.PayloadBytes)
	}
}

// addMachine adds the processor time of this program, of the readers and of others.
func (m *Meter) addMachine(r *Run, settled uint64) {
	own, readers := m.after.own-m.before.own, m.after.readers-m.before.readers
	r.CPU.Replicas, r.CPU.Load, r.CPU.Readers = per1000(r.NodeCPUSeconds, settled), per1000(own, settled), per1000(readers, settled)
	local := true
	for _, t := range m.targets {
		local = local && t.PID != 0
	}
	switch why := m.before.machineWhy + m.after.machineWhy; {
	case why != "":
		r.CPU.Why = why
	case !local:
		r.CPU.Why = "the replicas may run on other machines"
	case m.after.all > m.before.all:
		r.CPU.Other = max(0, m.after.busy-m.before.busy-own-readers-r.NodeCPUSeconds) / (m.after.all - m.before.all)
	}
}

func per1000(used float64, settled uint64) float64 {
	if settled == 0 {
		return 0
	}
	return used / float64(settled) * 1000
}
