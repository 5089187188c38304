package events

import (
	"context"
	"fmt"
	"io"
	"sort"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

// stream is one reader's stream.
type stream struct {
	e        *Events
	kinds    kinds
	follow   bool
	accounts []*followed
	at       api.Cursor // all events up to here were returned
	placed   bool       // the accounts are at their first changes
	buffer   []byte     // of the page
	last     time.Time  // of the last page
	busy     bool       // the last block came before the next page was due

	commits []api.Commit // of the page, those not returned yet
	known   uint64       // height up to which commits were returned or reported as a gap

	positions   ledger.Positions // of the receipts of the block at positionsOf, during a page
	positionsOf uint64
}

// followed is an account with the next entries of its history.
type followed struct {
	address ledger.Address
	number  uint64 // of the entry after those in next
	next    []ledger.HistoryEntry
	index   uint32 // of the event of the first of next, 0 if not known yet
}

// drop removes the first entry.
func (f *followed) drop() { f.next, f.index = f.next[1:], 0 }

// At implements [api.EventStream].
func (s *stream) At() api.Cursor { return s.at }

// Close implements [api.EventStream].
func (s *stream) Close() { s.e.open.Add(-1) }

// Next implements [api.EventStream].
func (s *stream) Next(ctx context.Context) ([]byte, error) {
	for {
		height, higher := s.e.cfg.Ledger.Advanced()
		end, err := s.page(ctx, height)
		if len(s.buffer) > 0 { // an error comes again with the next page
			s.last = time.Now()
			return s.buffer, nil
		}
		if err != nil {
			return nil, err
		}
		if !end {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue // a page without events
		}
		if !s.follow {
			return nil, io.EOF
		}
		if err := s.await(ctx, higher); err != nil {
			return nil, err
		}
	}
}

// await waits for a block, and until the next page is due, so that a page is not read for each block of a busy shard. There
// it waits for the time first, so that the reader is woken once for several blocks.
func (s *stream) await(ctx context.Context, higher <-chan struct{}) error {
	due := s.e.due(s.last)
	if s.busy {
		if err := sleep(ctx, due); err != nil {
			return err
		}
		select {
		case <-higher:
			return nil
		default:
			s.busy = false
		}
	}
	var soon <-chan time.Time
	if s.kinds.has(api.EventCommit) {
		soon = time.After(pace) // the loop of the replica may note a commit after the executor has executed the block
	}
	select {
	case <-higher:
	case <-soon:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.busy = time.Now().Before(due)
	return sleep(ctx, due)
}

// sleep waits until a time.
func sleep(ctx context.Context, until time.Time) error {
	wait := time.Until(until)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// page puts the next events up to a height into the buffer. end is true if there are no more.
func (s *stream) page(ctx context.Context, height uint64) (end bool, err error) {
	s.buffer = s.buffer[:0]
	if s.at.Height+recent < height {
		select {
		case s.e.past <- struct{}{}:
			defer func() { <-s.e.past }()
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	defer func() { s.positions = nil }()
	if height, err = s.begin(height); err != nil {
		return false, err
	}
	for blocks := 0; len(s.buffer) < pageBytes && blocks < pageBlocks; blocks++ {
		next, first := s.at.Height, s.at.Index+1
		if s.at.Index == api.Whole {
			next, first = next+1, 0
		}
		if s.kinds&dense == 0 {
			sparse, err := s.nextSparse(next)
			if err != nil {
				return false, err
			}
			if sparse > next {
				next, first = sparse, 0
			}
		}
		if next > height {
			if height > s.at.Height {
				s.at = api.Cursor{Height: height, Index: api.Whole}
			}
			return true, nil
		}
		if err := s.block(next, first); err != nil {
			return false, err
		}
	}
	return false, nil
}

// begin prepares a page: accounts and commits. It returns the height up to which the page may go. The page begins with a gap
// if the replica does not have all commits.
func (s *stream) begin(height uint64) (uint64, error) {
	if !s.placed {
		for _, f := range s.accounts {
			var err error
			if f.number, err = s.e.cfg.Ledger.FirstChange(f.address, s.next()); err != nil {
				return 0, err
			}
		}
		s.placed = true
	}
	if !s.kinds.has(api.EventCommit) {
		return height, nil
	}
	s.known = max(s.known, s.next()-1)
	s.commits = s.e.cfg.Commits(s.known)
	// A commit may be noted after its block is executed. So the page ends before blocks above the last commit.
	if n := len(s.commits); n > 0 {
		height = min(height, s.commits[n-1].Height)
	} else {
		height = min(height, s.known)
	}
	all := s.e.cfg.Commits(0)
	if len(all) == 0 || s.known+1 >= all[0].Height {
		return height, nil
	}
	gap := &api.Event{Kind: api.EventGap, Height: all[0].Height - 1, Gap: &api.GapEvent{
		From: s.known + 1, To: all[0].Height - 1, Kinds: []api.EventKind{api.EventCommit},
		Reason: fmt.Sprintf("the replica has its commits since its start in memory, at most the newest 1,024: from height %d on", all[0].Height),
	}}
	gap.Shard, gap.Cursor = s.e.cfg.Shard, s.at.Text(s.e.cfg.Shard)
	s.known = all[0].Height - 1
	s.buffer = append(s.buffer, api.EncodeEvent(gap)...)
	return height, nil
}

// next is the height of the next event at the lowest.
func (s *stream) next() uint64 {
	if s.at.Index == api.Whole {
		return s.at.Height + 1
	}
	return s.at.Height
}

// nextSparse is the lowest height from one on that may have events of a stream without dense kinds.
func (s *stream) nextSparse(from uint64) (height uint64, err error) {
	height = api.Whole << 32 // above every height
	if len(s.commits) > 0 {
		height = min(height, s.commits[0].Height)
	}
	if s.kinds.has(api.EventEvidence) {
		frozen, err := s.e.cfg.Ledger.Freezes(from, height)
		if err != nil {
			return 0, err
		}
		for i := range frozen {
			height = min(height, frozen[i].Height)
		}
	}
	for _, f := range s.accounts {
		if err := s.fill(f); err != nil {
			return 0, err
		}
		if len(f.next) > 0 {
			height = min(height, f.next[0].Height)
		}
	}
	return max(height, from), nil
}

// block adds events of a block from a number on to the page, until it is full, and moves the stream behind them.
func (s *stream) block(height uint64, first uint32) error {
	frames, more, err := s.shared(height, first, pageBytes-len(s.buffer))
	if err != nil {
		return err
	}
	put := func(f *frame) {
		s.buffer = append(s.buffer, f.bytes...)
		s.at = api.Cursor{Height: height, Index: f.index}
	}
	for len(s.buffer) < pageBytes {
		for len(frames) > 0 && s.kinds&frames[0].kind == 0 {
			frames = frames[1:]
		}
		own, err := s.own(height, first)
		switch {
		case err != nil:
			return err
		case len(frames) > 0 && (own == nil || frames[0].index < own.index):
			put(&frames[0])
			frames = frames[1:]
		case more && len(frames) == 0:
			return nil // an own event may come after the next shared ones
		case own == nil:
			s.at = api.Cursor{Height: height, Index: api.Whole}
			return nil
		default:
			put(&own.frame)
			own.take()
		}
	}
	return nil
}

// shared returns the shared events of a block from a number on, also those of kinds that were not chosen. more is true if
// the block has further ones.
func (s *stream) shared(height uint64, first uint32, room int) (frames []frame, more bool, err error) {
	if s.kinds&shareable == 0 {
		return nil, false, nil
	}
	if tip, _ := s.e.cfg.Ledger.Advanced(); height+recent > tip {
		all, ok, err := s.e.recentBlock(height)
		if err != nil {
			return nil, false, err
		}
		if ok {
			return all[sort.Search(len(all), func(i int) bool { return all[i].index >= first }):], false, nil
		}
	}
	for {
		frames, next, err := s.e.read(height, s.kinds&shareable, first, room/256+1)
		if err != nil || len(frames) > 0 || next == 0 {
			return frames, next > 0, err
		}
		first = next // all receipts so far are of kinds that were not chosen
	}
}

// owned is an event of this reader alone. take removes it from the stream.
type owned struct {
	frame
	take func()
}

// own returns the next event of a block from a number on that is not shared, or nil.
func (s *stream) own(height uint64, first uint32) (*owned, error) {
	for len(s.commits) > 0 && s.commits[0].Height < height {
		s.commits = s.commits[1:]
	}
	if len(s.commits) > 0 && s.commits[0].Height == height && first <= indexCommit {
		c := s.commits[0]
		x := &api.Event{Kind: api.EventCommit, Height: height, Commit: &api.CommitEvent{Epoch: c.Epoch, Leader: c.Leader, AtUS: c.AtUS, WaitedUS: c.WaitedUS}}
		return &owned{s.e.encode(indexCommit, x), func() { s.commits, s.known = s.commits[1:], height }}, nil
	}
	return s.transaction(height, first)
}

// transaction returns the next effect of a transaction of a block on the followed accounts, or nil.
func (s *stream) transaction(height uint64, first uint32) (*owned, error) {
	var next *owned
	var changed []*followed
	for _, f := range s.accounts {
		index, ok, err := s.nextChange(f, height, first)
		switch {
		case err != nil:
			return nil, err
		case !ok || next != nil && index > next.index:
			continue
		case next == nil || index < next.index:
			next, changed = &owned{frame: frame{index: index}}, nil
		}
		changed = append(changed, f)
	}
	if next == nil {
		return nil, nil
	}
	h := &changed[0].next[0]
	x := &api.Event{Kind: api.EventTransaction, Height: height, TimeMS: h.TimeMS, Transaction: &api.TransactionEvent{Tx: h.Tx, Position: (next.index - indexReceipts) / 2}}
	for _, f := range changed {
		h := &f.next[0]
		x.Transaction.Changes = append(x.Transaction.Changes, api.AccountChange{Address: f.address, Received: h.Received, Spent: h.Spent})
	}
	next.frame = s.e.encode(next.index, x)
	next.take = func() {
		for _, f := range changed {
			f.drop()
		}
	}
	return next, nil
}

// nextChange returns the number of the event of an account's next change in a block, from a number on. It drops changes
// before it.
func (s *stream) nextChange(f *followed, height uint64, first uint32) (index uint32, ok bool, err error) {
	for {
		if err := s.fill(f); err != nil || len(f.next) == 0 || f.next[0].Height > height {
			return 0, false, err
		}
		if f.next[0].Height == height {
			if f.index == 0 {
				position, err := s.position(&f.next[0])
				if err != nil {
					return 0, false, err
				}
				f.index = receiptIndex(position) + 1
			}
			if f.index >= first {
				return f.index, true, nil
			}
		}
		f.drop()
	}
}

// position is the position of the receipt with which a history entry was made.
func (s *stream) position(h *ledger.HistoryEntry) (int, error) {
	if s.positions == nil || s.positionsOf != h.Height {
		ids, _, err := s.e.cfg.Ledger.BlockTxs(h.Height)
		if err != nil {
			return 0, err
		}
		s.positions, s.positionsOf = ledger.PositionsOf(ids), h.Height
	}
	at, ok := s.positions.Of(h)
	if !ok {
		return 0, fmt.Errorf("block %d has no receipt of transaction %s, which changed an account", h.Height, h.Tx)
	}
	return at, nil
}

// fill reads further changes of an account if none are left.
func (s *stream) fill(f *followed) error {
	if len(f.next) > 0 {
		return nil
	}
	list, err := s.e.cfg.Ledger.Changes(f.address, f.number, entries)
	f.next, f.number = list, f.number+uint64(len(list))
	return err
}

var _ api.EventStream = (*stream)(nil)
