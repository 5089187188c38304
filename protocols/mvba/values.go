package mvba

import (
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// values has the values that this replica holds or requests, by digest.
type values struct {
	cfg       *Config
	out       *outbox
	held      map[digest.Digest]*value
	requested map[digest.Digest]protocols.Set // values that are not held, with the peers that were asked
	served    []map[digest.Digest]bool        // by peer: values sent since the last reconnect
}

// value is a held value.
type value struct {
	bytes   []byte
	stored  bool // the value is on disk
	checked bool // external validity was checked, with the result invalid
	invalid error
}

func newValues(cfg *Config, out *outbox) values {
	return values{
		cfg: cfg, out: out, held: make(map[digest.Digest]*value), requested: make(map[digest.Digest]protocols.Set),
		served: make([]map[digest.Digest]bool, cfg.Committee.N()),
	}
}

// hold keeps a value in memory.
func (x *values) hold(d digest.Digest, bytes []byte) {
	if x.held[d] == nil {
		x.held[d] = &value{bytes: bytes}
	}
}

// store persists a held value. It is called before anything is signed for the value.
func (x *values) store(s *Step, d digest.Digest) {
	if v := x.held[d]; !v.stored {
		v.stored = true
		s.Record(x.cfg.Instance.valueKey(d), v.bytes)
	}
}

// valid is the external validity of a held value. It calls Config.Valid once for each value.
func (x *values) valid(v *value) error {
	if !v.checked {
		v.checked, v.invalid = true, x.cfg.Valid(v.bytes)
	}
	return v.invalid
}

// request asks for a value that at least f+1 honest replicas among signers hold. It asks f+1 of them. Different replicas
// begin at different signers, to distribute the load.
func (x *values) request(s *Step, d digest.Digest, signers protocols.Set) {
	members := signers.Members()
	start, _ := slices.BinarySearch(members, x.cfg.Self)
	asked := 0
	for k := range members {
		if asked == x.cfg.Committee.WeakQuorum() {
			return
		}
		if i := members[(start+k)%len(members)]; i != x.cfg.Self {
			x.ask(s, d, i)
			asked++
		}
	}
}

// ask requests a value from one replica, once.
func (x *values) ask(s *Step, d digest.Digest, i protocols.Index) {
	asked := x.requested[d]
	if asked.Add(i) {
		x.requested[d] = asked
		x.out.send(s, protocols.To(i), &FetchValue{x.cfg.Instance, d})
	}
}

// upon FetchValue: answer, once for each connection, if the value is held. It returns false if it is not held.
func (x *values) handleFetchValue(s *Step, from protocols.Index, m *FetchValue) bool {
	v := x.held[m.Digest]
	if v == nil {
		return false
	}
	if x.served[from] == nil {
		x.served[from] = make(map[digest.Digest]bool)
	}
	if !x.served[from][m.Digest] {
		x.served[from][m.Digest] = true
		s.Send(from, newValue(x.cfg.Instance, v.bytes))
	}
	return true
}

// upon Value: keep it, if it was requested.
func (x *values) handleValue(m *Value) {
	if _, ok := x.requested[m.digest]; ok {
		delete(x.requested, m.digest)
		x.hold(m.digest, m.Value)
	}
}

// keepOnly deletes all values and requests except those of one digest.
func (x *values) keepOnly(d digest.Digest) {
	for other := range x.held {
		if other != d {
			delete(x.held, other)
		}
	}
	for other := range x.requested {
		if other != d {
			delete(x.requested, other)
		}
	}
}
