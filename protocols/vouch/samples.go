package vouch

import (
	"slices"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Times between samples. A sample costs one check.
const (
	sampleGap = time.Second     // between two samples of an idle replica
	sampleTry = 2 * time.Second // until a busy replica looks again whether it is idle
)

// trusted is an executed batch that this replica did not check.
type trusted struct {
	batch   lanes.Ref
	known   Knowledge
	vouched protocols.Set
}

func newTrusted(r lanes.Ref, b *batch) trusted { return trusted{r, b.known, b.vouched} }

// samples are the newest executed batches that this replica did not check. While it is idle it checks one after the
// other, the newest first. If more than f replicas are Byzantine, they can have a bad batch executed; then a sample finds
// it, and stops the replica with the evidence.
type samples struct {
	list    []trusted // oldest first, at most maxTrusted
	due     protocols.Time
	pending *trusted // its check was requested
}

// add adds executed batches.
func (s *samples) add(now protocols.Time, batches []trusted) {
	slices.SortFunc(batches, func(a, b trusted) int { return compare(a.batch, b.batch) })
	s.list = append(s.list, batches...)
	if over := len(s.list) - maxTrusted; over > 0 {
		s.list = slices.Delete(s.list, 0, over)
	}
	if len(s.list) > 0 && s.due == 0 {
		s.due = now.Add(sampleTry)
	}
}

// tick requests the next sample if it is due and the replica is idle.
func (s *samples) tick(now protocols.Time, idle bool, st *Step) {
	if s.due == 0 || now < s.due {
		return
	}
	if !idle || s.pending != nil {
		s.due = now.Add(sampleTry)
		return
	}
	last := s.list[len(s.list)-1]
	s.list = s.list[:len(s.list)-1]
	s.pending = &last
	st.Emit(Output{Check: &last.batch})
	if s.due = now.Add(sampleGap); len(s.list) == 0 {
		s.due = 0
	}
}

// sampled takes the result of a check of an executed batch: of a sample, or of a check that was requested before
// the batch was known by vouches or by a header.
func (m *Machine) sampled(x Result) {
	s := &m.samples
	if s.pending != nil && s.pending.batch == x.Batch {
		m.counts.Sampled++
		if !x.Good {
			panic(contradiction(x.Batch, s.pending.known, s.pending.vouched))
		}
		s.pending = nil
		return
	}
	i := slices.IndexFunc(s.list, func(t trusted) bool { return t.batch == x.Batch })
	if i < 0 {
		return
	}
	if !x.Good {
		panic(contradiction(x.Batch, s.list[i].known, s.list[i].vouched))
	}
	if s.list = slices.Delete(s.list, i, i+1); len(s.list) == 0 {
		s.due = 0
	}
}
