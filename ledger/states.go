package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// Bounds of [States].
const (
	// keptStates is the number of newest states with a root that can be read.
	keptStates = 2
	// lateStates is the number of kept states without a root. The block that would make one more computes a root first.
	lateStates = 2
)

// StatesConfig describes the state of a ledger to [NewStates].
type StatesConfig struct {
	Network  digest.Digest // id of the genesis
	Shard    uint16
	Interval uint64 // heights from one state to the next; 0 for none
	Record   byte   // first byte of the keys of the roots in the store, behind which is the height
	// Ranges are the ranges of keys of the records that execution reads, in the state that r reads, ascending. They
	// depend on that state only.
	Ranges func(r kv.Reader) ([]kv.Range, error)
}

// States keeps the state of a ledger at each multiple of the interval, and computes its root while further blocks are
// executed. The newest two states with a root can be read. A state without a root survives every crash that a later block
// survives, so all roots are known on every replica.
//
// If roots take longer than blocks, execution waits: it computes one itself when two states lack theirs. So there are at
// most four states. Each is made of links to the tables that the store had at its height, so it takes space only for
// tables that compactions have replaced since then: at most the size of the state at that height.
//
// All methods may be called concurrently.
type States struct {
	cfg   StatesConfig
	store kv.Store
	kept  kv.Keeper     // nil if no states are kept
	due   chan struct{} // receives a value when a state is kept

	mu   sync.Mutex
	late []uint64 // heights of kept states without a root, ascending

	computing sync.Mutex // held while a root is computed
}

// NewStates opens the states in the store of a ledger whose last executed block is at height. A store that cannot keep
// states has none.
func NewStates(store kv.Store, cfg StatesConfig, height uint64) (*States, error) {
	s := &States{cfg: cfg, store: store, due: make(chan struct{}, 1)}
	keeper, ok := store.(kv.Keeper)
	if cfg.Interval == 0 || !ok {
		return s, nil
	}
	s.kept = keeper
	heights, err := keeper.Kept()
	if err != nil {
		return nil, err
	}
	for _, h := range heights {
		if _, ok, err := s.Root(h); err != nil {
			return nil, err
		} else if !ok {
			s.late = append(s.late, h)
		}
	}
	if _, ok, err := s.Root(height); err != nil || ok || slices.Contains(heights, height) {
		return s, err
	}
	return s, s.Reached(height) // again: the state may have been lost in a crash between it and the next block
}

// Reached is called after the block at height was applied to the store, and before the next one is. It keeps the state if
// height is a multiple of the interval. The error is the store's.
func (s *States) Reached(height uint64) error {
	if s.kept == nil || height == 0 || height%s.cfg.Interval != 0 {
		return nil
	}
	for {
		late := s.Late()
		if len(late) < lateStates {
			break
		}
		if err := s.compute(context.Background(), late[0]); err != nil {
			return err
		}
	}
	ranges, err := s.cfg.Ranges(s.store)
	if err == nil {
		err = s.kept.Keep(height, ranges)
	}
	if err != nil {
		return fmt.Errorf("keep the state at height %d: %w", height, err)
	}
	s.mu.Lock()
	s.late = append(s.late, height)
	s.mu.Unlock()
	select {
	case s.due <- struct{}{}:
	default:
	}
	return nil
}

// Run computes roots until the context ends. The error is the store's.
func (s *States) Run(ctx context.Context) error {
	for {
		for late := s.Late(); len(late) > 0; late = s.Late() {
			if err := s.compute(ctx, late[0]); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
		select {
		case <-s.due:
		case <-ctx.Done():
			return nil
		}
	}
}

// Late lists the heights of the kept states whose roots are not computed yet, ascending.
func (s *States) Late() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.late)
}

// compute computes the root of a late state, and stores it. It does nothing if the state has a root.
func (s *States) compute(ctx context.Context, height uint64) error {
	s.computing.Lock()
	defer s.computing.Unlock()
	if !slices.Contains(s.Late(), height) {
		return nil
	}
	state, ok, err := s.kept.ReadKept(height)
	if err == nil && !ok {
		err = errors.New("it is missing in the store")
	}
	if err != nil {
		return fmt.Errorf("root of the state at height %d: %w", height, err)
	}
	root, err := rootOf(ctx, &s.cfg, height, state)
	if err = errors.Join(err, state.Close()); err != nil {
		return fmt.Errorf("root of the state at height %d: %w", height, err)
	}
	var b kv.Batch
	b.Set(s.key(height), root.encode())
	if err := s.store.Apply(&b, false); err != nil {
		return err
	}
	s.mu.Lock()
	s.late = slices.DeleteFunc(s.late, func(h uint64) bool { return h == height })
	s.mu.Unlock()
	return s.forgetOld()
}

// forgetOld removes all states but the newest ones and those without a root. The roots of removed ones are on disk.
func (s *States) forgetOld() error {
	late := s.Late()
	heights, err := s.kept.Kept()
	if err != nil {
		return err
	}
	heights = slices.DeleteFunc(heights, func(h uint64) bool { return slices.Contains(late, h) })
	for len(heights) > keptStates {
		oldest := heights[0]
		heights = heights[1:]
		_, durable, err := s.store.Durable(s.key(oldest))
		if err == nil && !durable {
			err = s.store.Flush()
		}
		if err == nil {
			err = s.kept.Forget(oldest)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *States) key(height uint64) []byte { return wire.AppendU64([]byte{s.cfg.Record}, height) }

// Interval is the number of heights from one state to the next, 0 if none are kept.
func (s *States) Interval() uint64 {
	if s.kept == nil {
		return 0
	}
	return s.cfg.Interval
}

// Root returns the root of the state at a height, if it is computed. Roots of all multiples of the interval are stored.
func (s *States) Root(height uint64) (StateRoot, bool, error) {
	v, ok, err := s.store.Get(s.key(height))
	if err != nil || !ok {
		return StateRoot{}, false, err
	}
	r, err := decodeStateRoot(height, v)
	return r, err == nil, err
}

// Last returns the newest root, if there is one.
func (s *States) Last() (r StateRoot, ok bool, err error) {
	err = kv.Each(s.store, []byte{s.cfg.Record}, []byte{s.cfg.Record + 1}, true, func(key, v []byte) (bool, error) {
		r, err = decodeStateRoot(wire.NewReader(key[1:]).U64(), v)
		ok = err == nil
		return false, err
	})
	return r, ok, err
}

// Open opens the state at a height for reading; ok is false if it is not kept. It must be closed before the store, and
// takes up to [kv.KeptOpenFiles] open files. As long as it is open, it stays on disk.
func (s *States) Open(height uint64) (state *StateSnapshot, ok bool, err error) {
	if s.kept == nil {
		return nil, false, nil
	}
	r, ok, err := s.kept.ReadKept(height)
	if err != nil || !ok {
		return nil, false, err
	}
	ranges, err := s.cfg.Ranges(r)
	if err != nil {
		return nil, false, errors.Join(err, r.Close())
	}
	return &StateSnapshot{r, ranges}, true, nil
}

// StateSnapshot is the state of a ledger at one height. Later blocks do not change it.
type StateSnapshot struct {
	kv.Snapshot // of keys outside of the records of Each, values may be older
	ranges      []kv.Range
}

// Each calls yield for each record that the root covers, by key, until it returns false or an error. key and value are
// valid during that call only. A ledger whose store has these records executes the next block with the same result.
func (x *StateSnapshot) Each(yield func(key, value []byte) (more bool, err error)) error {
	return eachRecord(x.Snapshot, x.ranges, yield)
}
