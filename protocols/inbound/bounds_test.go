package inbound

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// at is a position of the channel from shard 1 that no test holds an LD for.
func at(number uint64) lanes.Tip {
	return lanes.Tip{Seq: number, Digest: digest.Of("test-at", fmt.Append(nil, number))}
}

// TestSIGNIsProved: a SIGN proves its sender's signature on one position of one channel.
func TestSIGNIsProved(t *testing.T) {
	b := newBench(t, 4)
	good := b.sign(2, at(3))
	for name, x := range map[string]struct {
		from   protocols.Index
		change func(*SIGN)
		ok     bool
	}{
		"the sender":              {2, func(*SIGN) {}, true},
		"another replica":         {1, func(*SIGN) {}, false},
		"another number":          {2, func(s *SIGN) { s.Tip.Seq++ }, false},
		"another LD":              {2, func(s *SIGN) { s.Tip.Digest[0] ^= 1 }, false},
		"another channel":         {2, func(s *SIGN) { s.Source = 2 }, false},
		"a signature bit differs": {2, func(s *SIGN) { s.Signature[9] ^= 1 }, false},
	} {
		s := *good
		x.change(&s)
		got, err := DecodeSIGN(s.Append(nil))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checks, err := got.SignatureChecks(b.c, x.from)
		if ok := err == nil && b.scheme.VerifyAll(checks); ok != x.ok {
			t.Errorf("%s: proved %v, %v", name, ok, err)
		}
	}
}

// TestWindowOfSIGN: SIGNs are counted in the window above the ordered position, and for no other number.
func TestWindowOfSIGN(t *testing.T) {
	b := newBench(t, 4)
	for _, ordered := range []uint64{0, 7} {
		for number, counts := range map[uint64]bool{
			ordered + 1: true, ordered + Window: true, ordered + Window + 1: false, ordered: false, 1 << 63: false,
		} {
			if number == 0 {
				continue // no position has number 0
			}
			m := b.machine(0)
			m.Ordered(t0, lanes.Cut{{}, at(ordered), {}})
			m.HandleSIGN(1, b.sign(1, at(number)))
			st := m.HandleSIGN(2, b.sign(2, at(number)))
			if certified, _ := m.Pending(1); (certified == number && len(st.Out) == 1) != counts {
				t.Errorf("ordered %d: f+1 SIGN of number %d certify %d", ordered, number, certified)
			}
		}
	}
}

// TestWindowOfLDs: LDs are kept in the window above the ordered position, unless one of a later number was requested.
func TestWindowOfLDs(t *testing.T) {
	b := newBench(t, 4)
	for number, kept := range map[uint64]bool{1: true, Window: true, Window + 1: false, 1 << 63: false} {
		m := b.machine(0)
		st := m.HandleLD(t0, ld(number, digest.Of("test-previous"), "x"))
		if (len(st.Persist) > 0) != kept {
			t.Errorf("LD %d: %d records", number, len(st.Persist))
		}
	}
	m := b.machine(0)
	far := ld(Window+1, digest.Of("test-previous"), "x")
	m.Content(t0, make(lanes.Cut, 3), lanes.Cut{{}, far.Tip(), {}}, protocols.Set{}) // a committed block orders it
	if st := m.HandleLD(t0, far); len(st.Persist) == 0 {
		t.Error("an LD beyond the window is dropped although a committed block names it")
	}
	if st := m.HandleLD(t0, &LD{Source: 0, Number: 1}); len(st.Persist) > 0 {
		t.Error("an LD from the own shard is kept")
	}
	if st := m.HandleLD(t0, &LD{Source: 3, Number: 1}); len(st.Persist) > 0 {
		t.Error("an LD from a shard that does not exist is kept")
	}
}

// TestPerBlock: a block orders at most PerBlock LDs of a channel: no more are proposed, and a cut with more is refused.
func TestPerBlock(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0)
	origin := make(lanes.Cut, 3)
	for number := uint64(1); number <= 2*PerBlock; number++ {
		m.HandleCertificate(t0, b.certificate(at(number), 2, 3))
	}
	if cut := m.ProposableCut(t0, origin); cut[1] != at(PerBlock) {
		t.Errorf("proposes number %d, want %d", cut[1].Seq, PerBlock)
	}
	for number, want := range map[uint64]lanes.Verdict{1: lanes.Votable, PerBlock: lanes.Votable, PerBlock + 1: lanes.Refused} {
		if got := m.CheckCut(t0, origin, lanes.Cut{{}, at(number), {}}, 1); got != want {
			t.Errorf("a cut of %d LDs: verdict %d, want %d", number, got, want)
		}
	}
	if got := m.CheckCut(t0, origin, lanes.Cut{at(1), {}, {}}, 1); got != lanes.Refused {
		t.Errorf("a cut with an LD of the own shard: verdict %d", got)
	}
}

// disk has the records of a machine.
type disk map[string][]byte

func (d disk) keep(st Step) {
	for _, r := range st.Persist {
		if r.Value == nil {
			delete(d, string(r.Key))
		} else {
			d[string(r.Key)] = r.Value
		}
	}
}

func (d disk) stored(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for _, k := range slices.Sorted(maps.Keys(d)) {
			if k >= string(from) && k < string(to) && !yield([]byte(k), d[k]) {
				return
			}
		}
	}
}

// TestRestoreAtAnyPoint: whenever a replica crashes while LDs arrive in some order and are ordered and applied, it continues
// with the same SIGNs, lacks the same next LD, and signs no other LD for a number.
func TestRestoreAtAnyPoint(t *testing.T) {
	all := chain(12, 10)
	order := []int{0, 2, 1, 5, 4, 3, 8, 6, 7, 11, 10, 9}
	b := newBench(t, 4)
	m, d := b.machine(1), disk{}
	base := make(lanes.Cut, 3)
	restarted := func(when string) {
		r, err := Restore(m.cfg, base, d.stored)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		r.Ordered(t0, lanes.Cut{{}, m.chans[1].ordered, {}})
		if r.Next(1) != m.Next(1) || !reflect.DeepEqual(r.Resend(2), m.Resend(2)) {
			t.Errorf("%s: lacks LD %d and resends %+v, before the crash %d and %+v", when, r.Next(1), r.Resend(2), m.Next(1), m.Resend(2))
		}
		rival := *all[0]
		rival.Digest[0] ^= 1
		if st := r.HandleLD(t0, &rival); base[1].Seq == 0 && m.Next(1) > 1 && len(st.Sends) > 0 {
			t.Errorf("%s: signs a second LD for a number", when)
		}
	}
	for k, i := range order {
		restarted(fmt.Sprintf("before LD %d", all[i].Number))
		d.keep(m.HandleLD(t0, all[i]))
		if k%4 == 3 {
			cut := lanes.Cut{{}, m.chans[1].signed, {}}
			d.keep(m.Ordered(t0, cut))
			restarted("ordered")
			d.keep(m.Executed(cut))
			base = cut
		}
	}
	restarted("in the end")
	for key := range d {
		if bytes.HasPrefix([]byte(key), []byte("i/s")) {
			t.Errorf("the record %x of an applied LD is kept", key)
		}
	}
}

// FuzzDecoders: bytes that decode encode to the same bytes, for each decoder of this package but that of certificates.
func FuzzDecoders(f *testing.F) {
	b := newBench(f, 4)
	f.Add(b.sign(1, at(3)).Append(nil))
	f.Add((&FetchLD{Source: 1, Tip: at(9), After: 4}).Append(nil))
	f.Add(ld(1, digest.Digest{}, "content").EncodeStored())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := DecodeSIGN(raw); err == nil && !bytes.Equal(m.Append(nil), raw) {
			t.Errorf("the SIGN %x encodes to %x", raw, m.Append(nil))
		}
		if m, err := DecodeFetchLD(raw); err == nil && (!bytes.Equal(m.Append(nil), raw) || m.Tip.Seq-m.After > Window) {
			t.Errorf("the FetchLD %x encodes to %x, for %d LDs", raw, m.Append(nil), m.Tip.Seq-m.After)
		}
		if m, err := DecodeStored(raw); err == nil && !bytes.Equal(m.EncodeStored(), raw) {
			t.Errorf("the record %x encodes to %x", raw, m.EncodeStored())
		}
	})
}
