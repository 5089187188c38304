package events

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shop is a ledger of invented blocks. The tests of the real one are in package settlement.
type shop struct {
	mu       sync.Mutex
	higher   chan struct{}
	headers  []ledger.Header
	receipts [][]ledger.Receipt
	history  map[ledger.Address][]ledger.HistoryEntry
	frozen   []ledger.Freeze
	reads    int // calls of BlockReceipts
}

func newShop() *shop {
	return &shop{headers: make([]ledger.Header, 1), receipts: make([][]ledger.Receipt, 1), history: make(map[ledger.Address][]ledger.HistoryEntry)}
}

// add adds a block with some receipts. Each settles a transaction that changes the account with its number, and account
// 0.
func (s *shop) add(receipts int, last bool) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	height := uint64(len(s.headers))
	var list []ledger.Receipt
	for i := range receipts {
		id := ledger.TxID(digest.Of("test/tx", fmt.Appendf(nil, "%d.%d", height, i)))
		verdict := ledger.VerdictSettled
		if i%3 == 2 {
			verdict = ledger.VerdictRejected
		}
		list = append(list, ledger.Receipt{Tx: id, Height: height, Position: uint32(i), Verdict: verdict})
		if verdict == ledger.VerdictSettled {
			for _, a := range []ledger.Address{{0}, {byte(1 + i%5)}} {
				s.history[a] = append(s.history[a], ledger.HistoryEntry{Tx: id, Height: height, Received: uint64(i)})
			}
		}
	}
	s.headers = append(s.headers, ledger.Header{Height: height, Last: last, Epoch: height / 4})
	s.receipts = append(s.receipts, list)
	if s.higher != nil {
		close(s.higher)
		s.higher = nil
	}
	return height
}

func (s *shop) Advanced() (uint64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.higher == nil {
		s.higher = make(chan struct{})
	}
	return uint64(len(s.headers)) - 1, s.higher
}

func (s *shop) Header(height uint64) (ledger.Header, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if height >= uint64(len(s.headers)) {
		return ledger.Header{}, false, nil
	}
	return s.headers[height], true, nil
}

func (s *shop) BlockTxs(height uint64) (ids []ledger.TxID, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.receipts[height] {
		ids = append(ids, r.Tx)
	}
	return ids, true, nil
}

func (s *shop) BlockReceipts(height uint64, position, limit int) ([]ledger.Receipt, bool, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	all := s.receipts[height]
	end := min(len(all), position+limit)
	return all[position:end], end < len(all), true, nil
}

func (s *shop) FirstChange(a ledger.Address, height uint64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.history[a]
	if i := slices.IndexFunc(h, func(e ledger.HistoryEntry) bool { return e.Height >= height }); i >= 0 {
		return uint64(i), nil
	}
	return uint64(len(h)), nil
}

func (s *shop) Changes(a ledger.Address, number uint64, limit int) ([]ledger.HistoryEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.history[a]
	return slices.Clone(h[number:min(uint64(len(h)), number+uint64(limit))]), nil
}

func (s *shop) Freezes(from, to uint64) (out []ledger.Freeze, err error) {
	for _, f := range s.frozen {
		if f.Height >= from && f.Height <= to {
			out = append(out, f)
		}
	}
	return out, nil
}

func eventsOf(s *shop) *Events {
	return New(Config{Shard: 3, Ledger: s, Home: func(a ledger.Address) uint16 {
		if a[0] == 255 {
			return 1
		}
		return 3
	}, Commits: func(uint64) []api.Commit { return nil }})
}

// split returns the events of a page, each with the empty line after it.
func split(page []byte) [][]byte {
	events := bytes.SplitAfter(bytes.Clone(page), []byte("\n\n"))
	return events[:len(events)-1]
}

// decoded reads an event of a stream, and checks its form.
func decoded(t rapid.TB, raw []byte) api.Event {
	var e api.Event
	lines := strings.Split(string(raw), "\n")
	if len(lines) != 5 || json.Unmarshal([]byte(strings.TrimPrefix(lines[2], "data: ")), &e) != nil ||
		lines[0] != "id: "+e.Cursor || lines[1] != "event: "+string(e.Kind) || lines[3] != "" || lines[4] != "" {
		t.Fatalf("not an event: %q", raw)
	}
	return e
}

// all reads a stream that does not follow to its end. Pages are bounded.
func all(t rapid.TB, e *Events, q api.EventQuery) (out []api.Event) {
	s, err := e.Open(q)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for {
		page, err := s.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range split(page) {
			out = append(out, decoded(t, raw))
		}
		if len(page) > pageBytes+1<<10 {
			t.Fatalf("a page of %d bytes", len(page))
		}
		if last := out[len(out)-1]; last.Kind != api.EventGap {
			if at, err := api.ParseCursor(last.Cursor, 3); err != nil || at.Height > s.At().Height {
				t.Fatalf("the stream is at %v after event %+v, %v", s.At(), last, err)
			}
		}
	}
}

func from(c api.Cursor) *api.Cursor { return &c }

// TestEveryCursorContinues: for random blocks and every choice of kinds and accounts, the events are in order, and a
// stream from the cursor of any event has exactly those after it. The numbers of a stream's events do not depend on the
// choice.
func TestEveryCursorContinues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newShop()
		for range rapid.IntRange(1, 8).Draw(t, "blocks") {
			receipts := rapid.SampledFrom([]int{0, 0, 1, 3, 7, 60, 1100}).Draw(t, "receipts")
			h := s.add(receipts, rapid.Bool().Draw(t, "last"))
			if rapid.IntRange(0, 5).Draw(t, "frozen") == 0 {
				s.frozen = append(s.frozen, ledger.Freeze{Source: uint16(h), Height: h, Why: "because"})
			}
		}
		chosen := rapid.SliceOfNDistinct(rapid.SampledFrom(api.ChosenKinds()[1:]), 1, 6, func(k api.EventKind) api.EventKind { return k }).Draw(t, "kinds")
		q := api.EventQuery{From: from(api.Cursor{Index: api.Whole}), Kinds: chosen}
		if slices.Contains(chosen, api.EventTransaction) {
			q.Accounts = []ledger.Address{{byte(rapid.IntRange(0, 2).Draw(t, "account"))}, {byte(rapid.IntRange(0, 7).Draw(t, "another"))}}
		}
		events := all(t, eventsOf(s), q)
		wantAll(t, s, q, events)
		for range 4 {
			if len(events) == 0 {
				break
			}
			i := rapid.IntRange(0, len(events)-1).Draw(t, "at")
			at, err := api.ParseCursor(events[i].Cursor, 3)
			if err != nil {
				t.Fatal(err)
			}
			q.From = &at
			rest := all(t, eventsOf(s), q)
			if !same(rest, events[i+1:]) {
				t.Fatalf("from %s there are %d events, want %d", events[i].Cursor, len(rest), len(events)-i-1)
			}
		}
	})
}

func same(a, b []api.Event) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && (len(a) == 0 && len(b) == 0 || bytes.Equal(x, y))
}

// wantAll compares the events of a stream from the first block on with the blocks, event by event.
func wantAll(t *rapid.T, s *shop, q api.EventQuery, got []api.Event) {
	var want []string
	put := func(height uint64, kind api.EventKind, what any) {
		if slices.Contains(q.Kinds, kind) {
			want = append(want, fmt.Sprint(height, kind, what))
		}
	}
	for h := uint64(1); h < uint64(len(s.headers)); h++ {
		put(h, api.EventBlock, "")
		if s.headers[h].Last {
			put(h, api.EventEpoch, s.headers[h].Epoch)
		}
		for _, f := range s.frozen {
			if f.Height == h {
				put(h, api.EventEvidence, f.Source)
			}
		}
		for _, r := range s.receipts[h] {
			kind := api.EventSettlement
			if r.Verdict == ledger.VerdictRejected {
				kind = api.EventVerdict
			}
			put(h, kind, r.Tx)
			var changes []ledger.Address
			for i, a := range q.Accounts {
				if !slices.Contains(q.Accounts[:i], a) && slices.ContainsFunc(s.history[a], func(e ledger.HistoryEntry) bool { return e.Tx == r.Tx }) {
					changes = append(changes, a)
				}
			}
			if len(changes) > 0 {
				put(h, api.EventTransaction, fmt.Sprint(r.Tx, r.Position, changes))
			}
		}
	}
	var have []string
	for _, e := range got {
		var what any = ""
		switch {
		case e.Epoch != nil:
			what = e.Epoch.Ended
		case e.Evidence != nil:
			what = e.Evidence.Against
		case e.Verdict != nil:
			what = e.Verdict.Tx
		case e.Settlement != nil:
			what = e.Settlement.Tx
		case e.Transaction != nil:
			var changes []ledger.Address
			for _, c := range e.Transaction.Changes {
				changes = append(changes, c.Address)
			}
			what = fmt.Sprint(e.Transaction.Tx, e.Transaction.Position, changes)
		}
		have = append(have, fmt.Sprint(e.Height, e.Kind, what))
	}
	if !slices.Equal(have, want) {
		for i := range min(len(have), len(want)) {
			if have[i] != want[i] {
				t.Fatalf("event %d is %s, want %s", i, have[i], want[i])
			}
		}
		t.Fatalf("%d events, want %d", len(have), len(want))
	}
}

// TestManyFollowersShareBlocks: a hundred followers of new blocks get the same events, each block is read and encoded once,
// and the pages are fewer than the blocks.
func TestManyFollowersShareBlocks(t *testing.T) {
	s := newShop()
	for range 50 {
		s.add(1, false)
	}
	e := eventsOf(s)
	const followers, blocks = 100, 40
	kinds := []api.EventKind{api.EventBlock, api.EventSettlement}
	var sums [followers][32]byte
	var pages atomic.Int64
	var wg sync.WaitGroup
	for i := range followers {
		stream, err := e.Open(api.EventQuery{Kinds: kinds, Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer stream.Close()
			h := sha256.New()
			for n := 0; n < 2*blocks; {
				page, err := stream.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				pages.Add(1)
				h.Write(page)
				n += len(split(page))
			}
			h.Sum(sums[i][:0])
		})
	}
	for range blocks {
		s.add(1, false)
		time.Sleep(time.Millisecond)
	}
	wg.Wait()
	for i := range sums {
		if sums[i] != sums[0] {
			t.Fatalf("follower %d has other events than follower 0", i)
		}
	}
	if n := pages.Load(); n > followers*blocks/2 {
		t.Errorf("%d pages for %d followers of %d blocks", n, followers, blocks)
	}
	if n := e.open.Load(); n != 0 {
		t.Errorf("%d streams are open after their end", n)
	}
	if s.reads != blocks {
		t.Errorf("%d reads of receipts for %d blocks and %d followers", s.reads, blocks, followers)
	}
}

// TestPagesOfABusyShard: a replica makes at most 200 pages a second for all readers together, and at most one in 25 ms for each.
// Readers that began at different times get their pages together.
func TestPagesOfABusyShard(t *testing.T) {
	for _, readers := range []int{1, 5, 25, 512} {
		e := eventsOf(newShop())
		e.open.Store(int64(readers))
		last := make([]time.Time, readers)
		for i := range last {
			last[i] = e.begun.Add(time.Duration(i) * 7 * time.Millisecond)
		}
		end, pages, together := e.begun.Add(time.Minute), 0, make(map[time.Time]int)
		for i := range last {
			for at := e.due(last[i]); at.Before(end); at = e.due(at.Add(time.Duration(i) * time.Microsecond)) {
				if at.Before(last[i]) {
					t.Fatalf("%d readers: a page is due before the last one", readers)
				}
				last[i] = at
				together[at]++
				pages++
			}
		}
		if most := 60 * min(200, 40*readers); pages > most || pages < most*9/10 {
			t.Errorf("%d readers get %d pages in a minute, want at most %d", readers, pages, most)
		}
		if turns := 60 * min(40, 200/readers+1); len(together) > turns+1 {
			t.Errorf("%d readers get their pages at %d times", readers, len(together))
		}
	}
}

// TestSharedEventsAreBounded: the bytes of shared events stay below their bound, and the newest blocks are kept.
func TestSharedEventsAreBounded(t *testing.T) {
	s := newShop()
	e := eventsOf(s)
	for range 200 {
		h := s.add(900, false)
		if _, ok, err := e.recentBlock(h); !ok || err != nil {
			t.Fatal(ok, err)
		}
		sum := 0
		for _, b := range e.shared {
			sum += b.size
		}
		if e.bytes != sum || e.bytes > sharedBytes || e.shared[h] == nil {
			t.Fatalf("%d bytes are counted and %d shared, of block %d: %v", e.bytes, sum, h, e.shared[h] != nil)
		}
	}
	if len(e.shared) < 10 || len(e.shared) > 60 {
		t.Errorf("%d blocks are shared", len(e.shared))
	}
	h := s.add(sharedTxs+1, false)
	if frames, ok, err := e.recentBlock(h); ok || err != nil || frames != nil || e.bytes > sharedBytes {
		t.Errorf("a block with too many receipts is shared: %v %v", ok, err)
	}
}

// TestSlowReaderLosesNothing: a reader that is far behind reads the same events as one that is not.
func TestSlowReaderLosesNothing(t *testing.T) {
	s := newShop()
	e := eventsOf(s)
	q := api.EventQuery{Kinds: []api.EventKind{api.EventSettlement}, From: from(api.Cursor{Index: api.Whole}), Follow: true}
	slow, err := e.Open(q)
	if err != nil {
		t.Fatal(err)
	}
	fast, _ := e.Open(q)
	defer slow.Close()
	defer fast.Close()
	var expected, got [][]byte
	for range 3 * recent {
		s.add(1, false)
	}
	for _, r := range []struct {
		stream api.EventStream
		to     *[][]byte
	}{{fast, &expected}, {slow, &got}} {
		for len(*r.to) < 3*recent {
			page, err := r.stream.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			*r.to = append(*r.to, split(page)...)
		}
	}
	if !slices.EqualFunc(expected, got, bytes.Equal) {
		t.Error("the events differ")
	}
}

// TestCommits: commits come in order, before the blocks at their heights, and not before they are noted. A gap names
// those that the replica does not have.
func TestCommits(t *testing.T) {
	s := newShop()
	var mu sync.Mutex
	var noted []api.Commit
	e := New(Config{Shard: 3, Ledger: s, Home: func(ledger.Address) uint16 { return 3 }, Commits: func(after uint64) []api.Commit {
		mu.Lock()
		defer mu.Unlock()
		i := slices.IndexFunc(noted, func(c api.Commit) bool { return c.Height > after })
		if i < 0 {
			return nil
		}
		return slices.Clone(noted[i:])
	}})
	note := func(height uint64) {
		mu.Lock()
		defer mu.Unlock()
		noted = append(noted, api.Commit{Height: height})
	}
	for range 12 {
		s.add(0, false)
	}
	note(7) // the height at the start of the replica
	note(10)
	text := func(q api.EventQuery) (out string) {
		q.Kinds = append(q.Kinds, api.EventCommit)
		for _, x := range all(t, e, q) {
			out += fmt.Sprintf("%s:%d ", x.Kind, x.Height)
			if x.Gap != nil {
				out += fmt.Sprintf("(%d-%d) ", x.Gap.From, x.Gap.To)
			}
		}
		return out
	}
	for at, want := range map[uint64]string{0: "gap:6 (1-6) commit:7 commit:10 ", 4: "gap:6 (5-6) commit:7 commit:10 ", 6: "commit:7 commit:10 ", 7: "commit:10 ", 10: "", 11: ""} {
		if got := text(api.EventQuery{From: from(api.Cursor{Height: at, Index: api.Whole})}); got != want {
			t.Errorf("after %d: %s, want %s", at, got, want)
		}
	}
	// With a block that is executed and whose commit is not noted yet, the stream waits for the commit.
	if got, want := text(api.EventQuery{From: from(api.Cursor{Height: 9, Index: api.Whole}), Kinds: []api.EventKind{api.EventBlock}}), "commit:10 block:10 "; got != want {
		t.Errorf("with blocks: %s, want %s", got, want)
	}
	stream, err := e.Open(api.EventQuery{From: from(api.Cursor{Height: 10, Index: api.Whole}), Kinds: []api.EventKind{api.EventBlock, api.EventCommit}, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	time.AfterFunc(2*pace, func() { note(12) })
	raw, err := stream.Next(t.Context())
	page := split(raw)
	if err != nil || len(page) != 3 || decoded(t, page[0]).Kind != api.EventBlock || decoded(t, page[1]).Kind != api.EventCommit || decoded(t, page[2]).Height != 12 {
		t.Errorf("%d events, %v", len(page), err)
	}
}

// TestQueries: the default place is the last block, an account of another shard is refused, a cursor above the last
// block waits, and a stream ends with its context.
func TestQueries(t *testing.T) {
	s := newShop()
	s.add(1, false)
	e := eventsOf(s)
	if got := all(t, e, api.EventQuery{Kinds: []api.EventKind{api.EventBlock}}); len(got) != 0 {
		t.Errorf("events before the place: %+v", got)
	}
	if _, err := e.Open(api.EventQuery{Accounts: []ledger.Address{{255}}}); !errors.Is(err, api.ErrBadQuery) || !strings.Contains(err.Error(), "replica of shard 1") {
		t.Errorf("account of another shard: %v", err)
	}
	ahead, err := e.Open(api.EventQuery{From: from(api.Cursor{Height: 1 << 62, Index: api.Whole}), Kinds: []api.EventKind{api.EventBlock}, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ahead.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if page, err := ahead.Next(ctx); len(page) > 0 || !errors.Is(err, context.DeadlineExceeded) || ahead.At().Height != 1<<62 {
		t.Errorf("above the last block: %d events, %v, at %v", len(page), err, ahead.At())
	}
}
