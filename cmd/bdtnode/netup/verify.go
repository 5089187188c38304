package netup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bdtnode/node/api"
	"bdtnode/node/client"
	"bdtnode/shard"
)

// agreeTimeout bounds the time in which the replicas of a shard reach the same height, and value between shards
// arrives, after the last submission.
const agreeTimeout = 30 * time.Second

// comparedHeights is the number of heights at which headers are compared.
const comparedHeights = 20

// Verdict is the result of comparing the running replicas at the end.
type Verdict struct {
	HeadersAgree   bool
	ValueConserved bool
	Problems       []string // descriptions of the differences
}

// Verify compares the ledgers of the replicas. In each shard it waits until all replicas are at one height, and
// compares their headers at several heights, including the last. Then it makes each replica count its value output by
// output. In every shard the value must be the genesis value plus the value received minus the value sent. Once no
// value is between shards, the sum over all shards must be the genesis supply.
func (c *Cluster) Verify(ctx context.Context) (Verdict, error) {
	shards := c.aliveByShard()
	v := Verdict{HeadersAgree: true, ValueConserved: true}
	for s, alive := range shards {
		if len(alive) == 0 {
			return v, fmt.Errorf("no replica of shard %d is left to compare", s)
		}
		height, err := sameHeight(ctx, alive)
		if err != nil {
			v.HeadersAgree = false
			v.Problems = append(v.Problems, err.Error())
		}
		for _, h := range sampleHeights(height) {
			if err := compareAt(ctx, alive, h); err != nil {
				v.HeadersAgree = false
				v.Problems = append(v.Problems, err.Error())
			}
		}
	}
	if c.Genesis.Parameters.Ledger == shard.LedgerLog {
		return v, ctx.Err() // it has no value
	}
	problems, err := c.countValue(ctx, shards)
	if err != nil {
		return v, err
	}
	v.ValueConserved = len(problems) == 0
	v.Problems = append(v.Problems, problems...)
	return v, ctx.Err()
}

func (c *Cluster) aliveByShard() [][]*Replica {
	shards := make([][]*Replica, len(c.Genesis.Shards))
	for _, r := range c.Alive() {
		shards[r.Shard] = append(shards[r.Shard], r)
	}
	return shards
}

// sameHeight waits until all replicas of a shard have executed the same number of blocks. The error reports different
// last headers.
func sameHeight(ctx context.Context, alive []*Replica) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, agreeTimeout)
	defer cancel()
	for {
		all, err := statuses(ctx, alive)
		if err == nil {
			lowest, highest := all[0], all[0]
			for i, st := range all {
				if st.Height < lowest.Height {
					lowest = st
				}
				if st.Height > highest.Height {
					highest = st
				}
				if st.Height == all[0].Height && st.HeaderDigest != all[0].HeaderDigest {
					return st.Height, fmt.Errorf("at height %d %s has header %s and %s has %s",
						st.Height, alive[0].Name(), all[0].HeaderDigest, alive[i].Name(), st.HeaderDigest)
				}
			}
			if lowest.Height == highest.Height {
				return lowest.Height, nil
			}
			err = fmt.Errorf("replicas are at heights %d to %d, and did not reach the same height", lowest.Height, highest.Height)
		}
		if !sleep(ctx, 2*pollEvery) {
			return 0, err
		}
	}
}

func statuses(ctx context.Context, alive []*Replica) ([]api.Status, error) {
	all := make([]api.Status, len(alive))
	for i, r := range alive {
		var err error
		if all[i], err = r.Client.Status(ctx); err != nil {
			return nil, fmt.Errorf("status of %s: %w", r.Name(), err)
		}
	}
	return all, nil
}

// sleep waits for d. It returns false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// sampleHeights returns up to comparedHeights heights from 1 to the last, evenly spread.
func sampleHeights(last uint64) []uint64 {
	var out []uint64
	for i := uint64(1); i <= comparedHeights; i++ {
		h := last / comparedHeights * i
		h += last % comparedHeights * i / comparedHeights
		if h > 0 && (len(out) == 0 || out[len(out)-1] != h) {
			out = append(out, h)
		}
	}
	return out
}

// compareAt returns an error if replicas hold different blocks at a height. A replica without the block, which caught
// up past it, is skipped; at least two must hold it.
func compareAt(ctx context.Context, alive []*Replica, height uint64) error {
	var first *Replica
	var want api.Block
	holders := 0
	for _, r := range alive {
		b, err := r.Client.Block(ctx, r.Shard, height)
		if errors.Is(err, client.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: read block %d: %w", r.Name(), height, err)
		}
		holders++
		if first == nil {
			first, want = r, b
			continue
		}
		if b.HeaderHash != want.HeaderHash {
			return fmt.Errorf("at height %d %s has header %s and %s has %s", height, first.Name(), want.HeaderHash, r.Name(), b.HeaderHash)
		}
	}
	if holders < min(2, len(alive)) {
		return fmt.Errorf("block %d is held by %d of %d replicas", height, holders, len(alive))
	}
	return nil
}
