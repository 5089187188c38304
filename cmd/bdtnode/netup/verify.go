package netup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bdtnode/node/api"
	"bdtnode/node/api/client"
)

// agreeTimeout is how long the replicas of a shard may take to come to the same height, and value between shards to
// arrive, once nothing is submitted any more.
const agreeTimeout = 30 * time.Second

// comparedHeights is at how many heights headers are compared.
const comparedHeights = 20

// Verdict is what the replicas that run hold at the end.
type Verdict struct {
	HeadersAgree   bool
	ValueConserved bool
	Problems       []string // what is wrong, for people
}

// Verify compares what the replicas hold. In each shard it waits until all are at one height, and compares their headers
// at several, the last among them. Then it makes each count its value output by output: in every shard what is there
// must be what genesis put there and what came in and went out, and once nothing is between shards any more, what all
// have must be what genesis gave all.
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

// sameHeight waits until all replicas of a shard have executed as many blocks, and is an error if their last headers differ.
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
			err = fmt.Errorf("replicas are at heights %d to %d, and did not come to the same", lowest.Height, highest.Height)
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
			return nil, fmt.Errorf("%s does not say its height: %w", r.Name(), err)
		}
	}
	return all, nil
}

// sleep reports false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// sampleHeights is up to so many heights from 1 to the last, evenly spread.
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

// compareAt is an error if replicas hold different blocks at a height. One that lacks the block, having caught up
// past it, says nothing against it; at least two have to hold it.
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
			return fmt.Errorf("%s does not show block %d: %w", r.Name(), height, err)
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
