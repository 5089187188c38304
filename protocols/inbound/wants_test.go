package inbound

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// TestWrongNumberDoesNotBlockFetch: a cut that names an LD with a wrong number does not prevent the LD from being fetched
// when another cut names it with the right number.
func TestWrongNumberDoesNotBlockFetch(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	first := ld(1, digest.Digest{}, "first")
	origin, wrong, right := make(lanes.Cut, 3), make(lanes.Cut, 3), make(lanes.Cut, 3)
	wrong[1], right[1] = lanes.Tip{Seq: 5, Digest: first.Digest}, first.Tip()
	if v := m.CheckCut(t0, origin, wrong, 2); v == lanes.Votable {
		t.Fatal("an LD that is not held can be voted for")
	}
	m.Tick(t0.Add(fetchGrace))
	if _, complete := m.Content(t0.Add(fetchGrace), origin, right, protocols.Set{}); complete {
		t.Fatal("the content is complete without an LD")
	}
	asked := m.Tick(t0.Add(fetchGrace)).Sends
	if len(asked) != 1 || asked[0].Message.(*FetchLD).Tip != first.Tip() {
		t.Errorf("fetches %v, want %v", asked, first.Tip())
	}
	m.HandleLD(t0, first)
	m.CheckCut(t0, origin, wrong, 2)
	if asked := m.Tick(t0.Add(time.Minute)).Sends; len(asked) > 1 || len(asked) == 1 && asked[0].Message.(*FetchLD).Tip != wrong[1] {
		t.Errorf("fetches %v below a position with a wrong number", asked[0].Message)
	}
}

// TestFetchWindow: a request for more than a window of LDs is malformed. A request for a channel that does not exist gets no
// answer.
func TestFetchWindow(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(1)
	tip := lanes.Tip{Seq: 10_000, Digest: digest.Of("test-ld")}
	for after, good := range map[uint64]bool{9_999: true, 10_000 - Window: true, 10_000 - Window - 1: false, 10_000: false, 0: false} {
		f := &FetchLD{Source: 1, Tip: tip, After: after}
		got, err := DecodeFetchLD(f.Append(nil))
		if (err == nil) != good {
			t.Errorf("above %d: %v", after, err)
		}
		if err == nil && len(m.HandleFetchLD(2, got).Reads) != 1 {
			t.Errorf("above %d: no answer", after)
		}
	}
	if st := m.HandleFetchLD(2, &FetchLD{Source: 9, Tip: tip, After: 9_999}); len(st.Sends)+len(st.Reads) != 0 {
		t.Error("answers for a channel that does not exist")
	}
}

// chain makes count LDs of shard 1, numbered from 1, each of size bytes.
func chain(count, size int) []*LD {
	var out []*LD
	previous := digest.Digest{}
	for n := 1; n <= count; n++ {
		d := ld(uint64(n), previous, fmt.Sprint(n))
		d.Raw = make([]byte, size)
		out, previous = append(out, d), d.Digest
	}
	return out
}

// TestFetchContinues: answers that hold only a part, newest first, complete a stretch. Every request is for LDs that are
// still missing, and none is repeated after an answer. A certificate, a cut to vote on and a committed cut lead to the same
// result.
func TestFetchContinues(t *testing.T) {
	const count, answer = 60, 7
	all := chain(count, 1000)
	tip := all[count-1].Tip()
	origin, cut := make(lanes.Cut, 3), lanes.Cut{{}, tip, {}}
	for name, begin := range map[string]func(*bench, *Machine){
		"certificate": func(b *bench, m *Machine) { m.HandleCertificate(t0, b.certificate(tip, 2, 3)) },
		"cut":         func(_ *bench, m *Machine) { m.CheckCut(t0, origin, cut, 2) },
		"commit": func(_ *bench, m *Machine) {
			m.Ordered(t0, cut)
			m.Content(t0, origin, cut, protocols.Set{})
		},
	} {
		b := newBench(t, 4)
		m := b.machine(1)
		begin(b, m)
		asked := make(map[uint64]bool)
		now := t0
		for w := m.Wake(); w != 0 && len(asked) < 100; w = m.Wake() {
			now = max(now, w)
			for _, s := range m.Tick(now).Sends {
				f := s.Message.(*FetchLD)
				if asked[f.Tip.Seq] {
					t.Fatalf("%s: LD %d is requested again after an answer", name, f.Tip.Seq)
				}
				asked[f.Tip.Seq] = true
				for k := f.Tip.Seq; k > f.After && k+answer > f.Tip.Seq; k-- {
					m.HandleLD(now, all[k-1])
				}
			}
		}
		if len(asked) != (count+answer-1)/answer {
			t.Errorf("%s: %d requests, want %d", name, len(asked), (count+answer-1)/answer)
		}
		if refs, complete := m.Content(now, origin, cut, protocols.Set{}); !complete || len(refs) != count {
			t.Errorf("%s: %d of %d LDs after %v", name, len(refs), count, now.Sub(t0))
		}
		if name != "commit" && m.Next(1) != count+1 {
			t.Errorf("%s: signed up to below %d of %d", name, m.Next(1), count)
		}
	}
}

// TestBacklog: above the ordered position no more than Backlog bytes of a channel are kept, in any order of arrival. The
// first part of the channel is kept, so it is signed, and the channel continues when that part is ordered. The bytes of LDs
// do not stay in memory.
func TestBacklog(t *testing.T) {
	const size = 200 << 10
	all := chain(3*Backlog/size, size)
	for name, order := range map[string]func(int) int{
		"in order":     func(k int) int { return k },
		"newest first": func(k int) int { return len(all) - 1 - k },
	} {
		b := newBench(t, 4)
		m := b.machine(1)
		stored := make(map[uint64]int) // sizes by number
		carry := func(st Step) {
			total := 0
			for _, r := range st.Persist {
				if number := wire.NewReader(r.Key[len("i/l")+2:]).U64(); bytes.HasPrefix(r.Key, []byte("i/l")) {
					stored[number] = max(0, len(r.Value)-2-8-2*digest.Size)
				}
			}
			for number, n := range stored {
				if number > m.chans[1].ordered.Seq {
					total += n
				}
			}
			if total > Backlog {
				t.Fatalf("%s: %d bytes are kept above the ordered position", name, total)
			}
		}
		for ordered := uint64(0); ordered < uint64(len(all)); {
			for k := range all {
				if d := all[order(k)]; d.Number > ordered {
					carry(m.HandleLD(t0, d))
				}
			}
			next := m.Next(1) - 1
			if next == ordered {
				t.Fatalf("%s: the channel makes no progress after %d", name, ordered)
			}
			ordered = next
			carry(m.Ordered(t0, lanes.Cut{{}, all[ordered-1].Tip(), {}}))
		}
	}
}
