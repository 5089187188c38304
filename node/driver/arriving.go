package driver

import (
	"sync"

	"bdtnode/internal/digest"
)

// arriving are the LDs of other shards that are being verified or are on their way to the loop, by the digest of the delivery.
// Each of the f+1 replicas that publish an LD sends it with the VOTEs that it got first, so most LDs come in several
// encodings. One good encoding is enough. The zero value has none. It may be used concurrently.
type arriving struct {
	mu  sync.Mutex
	lds map[digest.Digest]*arrival
}

// arrival is one LD.
type arrival struct {
	good    bool          // it was verified
	checked chan struct{} // closed when it is verified, or found to be bad
}

// begin reports whether the caller is to verify a copy of an LD, and then calls end. If another copy is being verified, it
// waits for the result. It is false if a good copy is on its way to the loop.
func (a *arriving) begin(d digest.Digest) bool {
	for {
		a.mu.Lock()
		x := a.lds[d]
		if x == nil {
			if a.lds == nil {
				a.lds = make(map[digest.Digest]*arrival)
			}
			a.lds[d] = &arrival{checked: make(chan struct{})}
			a.mu.Unlock()
			return true
		}
		good := x.good
		a.mu.Unlock()
		if good {
			return false
		}
		<-x.checked
	}
}

// end is called after begin, with the result of the verification. A good copy goes to the loop, which calls handled.
func (a *arriving) end(d digest.Digest, good bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	x := a.lds[d]
	x.good = good
	if !good {
		delete(a.lds, d)
	}
	close(x.checked)
}

// handled is called when the loop has handled an LD.
func (a *arriving) handled(d digest.Digest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if x := a.lds[d]; x != nil && x.good {
		delete(a.lds, d)
	}
}
