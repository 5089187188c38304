package execution

import (
	"fmt"
	"slices"
	"sync"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/vouch"
)

// groupChecks is the number of signatures from which on no further batch is checked in the same group. A signature in a
// group of 1,024 costs 60 percent of one in a group of 8.
const groupChecks = 2048

// checks are the batches whose signatures this replica has to check itself, and the results, behind a lock.
type checks struct {
	mu      sync.Mutex
	queue   []lanes.Ref
	results []vouch.Result
}

func (c *checks) put(r lanes.Ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, r)
}

// drop removes a batch whose check has not begun.
func (c *checks) drop(r lanes.Ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = slices.DeleteFunc(c.queue, func(x lanes.Ref) bool { return x == r })
}

// next takes the first batch; ok is false if there is none.
func (c *checks) next() (r lanes.Ref, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return r, false
	}
	r, c.queue = c.queue[0], c.queue[1:]
	return r, true
}

func (c *checks) done(results []vouch.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.results = append(c.results, results...)
}

// take empties the list of results.
func (c *checks) take() []vouch.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.results
	c.results = nil
	return out
}

// Check queues a batch for [Execution.CheckBatches].
func (e *Execution) Check(r lanes.Ref) { e.checks.put(r) }

// Drop removes a batch whose check has not begun.
func (e *Execution) Drop(r lanes.Ref) { e.checks.drop(r) }

// Checked takes the results of the checks since the last call. It is a call of the loop.
func (e *Execution) Checked() []vouch.Result { return e.checks.take() }

// CheckBatches checks the signatures of the next batches whose check the core requested, about groupChecks of them
// together, and has the loop take the results. It is called after [Execution.Check], until some is false: then there was no
// batch. The error is the store's.
func (e *Execution) CheckBatches() (some bool, err error) {
	var results []vouch.Result
	var payloads []*ledger.Payload
	var items []sig.Check
	for len(items) < groupChecks {
		r, ok := e.checks.next()
		if !ok {
			break
		}
		p, err := e.Payload(r)
		if err != nil {
			return false, err
		}
		results, payloads = append(results, vouch.Result{Batch: r, Good: true}), append(payloads, p)
		items = e.cfg.Known.AppendUnknown(items, p.Txs)
	}
	if len(results) == 0 {
		return false, nil
	}
	if !e.cfg.VerifyAll(items) {
		for i, p := range payloads {
			results[i].Good = e.cfg.VerifyAll(e.cfg.Known.AppendUnknown(nil, p.Txs))
		}
	}
	for i, p := range payloads {
		if results[i].Good {
			e.cfg.Known.AddOwn(p.Txs...)
		}
	}
	e.checks.done(results)
	e.host.Wake()
	return true, nil
}

// badBatches checks the signatures of batches and returns the bad ones. The error is the store's.
func (e *Execution) badBatches(refs []lanes.Ref) ([]lanes.Ref, error) {
	var bad []lanes.Ref
	for _, r := range refs {
		p, err := e.Payload(r)
		if err != nil {
			return nil, err
		}
		if !e.cfg.VerifyAll(p.AppendSigItems(nil)) {
			bad = append(bad, r)
		}
	}
	return bad, nil
}

// Explain names the cause of a divergence of this replica's header from the certified one, as far as the signatures of the block's batches show it.
func (e *Execution) Explain(x *certify.Divergence) string {
	refs, err := e.batchesOf(x.Height)
	if err != nil {
		return fmt.Sprintf("%v; its batches were not read: %v", x, err)
	}
	bad, err := e.badBatches(refs)
	if err != nil {
		return fmt.Sprintf("%v; its batches were not checked: %v", x, err)
	}
	if e.cfg.State == nil {
		return x.Error() // entries of another ledger have no signatures
	}
	named, err := e.cfg.State.BadBatches(x.Height)
	if err != nil {
		return fmt.Sprintf("%v; its record was not read: %v", x, err)
	}
	for _, r := range bad {
		if !slices.Contains(named, replica.BatchID(r)) {
			return fmt.Sprintf("%v; batch %d of lane %d, digest %s, has a bad signature and was executed on the word of others: more than f replicas are Byzantine",
				x, r.Tip.Seq, r.Lane, r.Tip.Digest)
		}
	}
	return fmt.Sprintf("%v; the signatures of its %d batches were checked, and are as this replica executed them", x, len(refs))
}

// batchesOf lists the batches between the cuts of a committed block and the one before.
func (e *Execution) batchesOf(height uint64) ([]lanes.Ref, error) {
	block, err := e.committed(height)
	if err != nil {
		return nil, err
	}
	before := make(lanes.Cut, len(block.Cut))
	if height > 1 {
		parent, err := e.committed(height - 1)
		if err != nil {
			return nil, err
		}
		before = parent.Cut
	}
	var refs []lanes.Ref
	for i, t := range block.Cut {
		for t.Seq > before[i].Seq {
			b, err := replica.Batch(e.cfg.Committee, e.cfg.Store, protocols.Index(i), t)
			if err != nil {
				return nil, err
			}
			if b == nil {
				return nil, fmt.Errorf("batch %d of lane %d is not in the store", t.Seq, i)
			}
			refs = append(refs, lanes.Ref{Lane: protocols.Index(i), Tip: t})
			t = lanes.Tip{Seq: t.Seq - 1, Digest: b.Parent}
		}
	}
	return refs, nil
}

// committed reads a committed block.
func (e *Execution) committed(height uint64) (*bolt.Block, error) {
	value, ok, err := e.cfg.Store.Get(bdt.CommitKey(height))
	if err == nil && !ok {
		err = fmt.Errorf("committed block %d is not in the store", height)
	}
	if err != nil {
		return nil, err
	}
	return bdt.DecodeCommit(e.cfg.Committee, value)
}
