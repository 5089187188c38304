package engine

import (
	"sync"

	"bdtnode/shard/settlement"
)

// witness takes evidence against other shards from readers and the writer to the loop: the first of each kind for each
// source, so it is bounded whatever arrives.
type witness struct {
	mu   sync.Mutex
	seen map[proven]bool
	todo []*settlement.Evidence
}

type proven struct {
	source uint16
	two    bool // LDs under one number
}

// put takes evidence unless there was some like it since the start.
func (w *witness) put(e *Engine, x *settlement.Evidence) {
	w.mu.Lock()
	key := proven{x.Source(), x.Other != nil}
	again := w.seen[key]
	if !again {
		w.seen[key] = true
		w.todo = append(w.todo, x)
	}
	w.mu.Unlock()
	if !again {
		outside.Errorw("a shard broke the rules of settlement", x.Source(), "shard", x.Source(), "number", x.LD.Delivery.Number, "evidence", x)
		e.wake()
	}
}

// take is what has come.
func (w *witness) take() []*settlement.Evidence {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.todo
	w.todo = nil
	return out
}
