package adversary

import (
	"fmt"
	"slices"

	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/mvba"
)

// Mutation sends messages of every type with one field changed, in addition to the correct ones or in their place. If
// the replica itself signs such messages, it signs the changed one, so that the receiver's check reaches the code after
// the signature.
type Mutation struct {
	Rate float64 // share of its messages

	old  []message // lately sent or received, a bounded number of each type
	sent map[form]int
	tally
}

// message is a message with its sender.
type message struct {
	from protocols.Index
	protocols.Message
}

// keptOfType is the number of old messages of a type from which it makes new ones.
const keptOfType = 6

func (a *Mutation) String() string {
	return fmt.Sprintf("sends %.0f %% with a field changed", 100*a.Rate)
}

func (a *Mutation) Receive(_ *View, from protocols.Index, m protocols.Message) { a.keep(from, m) }

// keep records a message.
func (a *Mutation) keep(from protocols.Index, m protocols.Message) {
	same := func(x message) bool { return x.Kind() == m.Kind() }
	count := 0
	for _, x := range a.old {
		if same(x) {
			count++
		}
	}
	if count >= keptOfType {
		k := slices.IndexFunc(a.old, same)
		a.old = slices.Delete(a.old, k, k+1)
	}
	a.old = append(a.old, message{from, m})
}

func (a *Mutation) Replace(v *View, _ protocols.Index, m protocols.Message) []network.Packet {
	rng := v.Rand
	a.keep(v.Self, m)
	right := Unchanged(m)
	if rng.Float64() >= a.Rate {
		return right
	}
	if rng.IntN(2) == 0 {
		if m = a.another(v); m == nil {
			return right
		}
	}
	frame := a.mutated(v, m)
	if frame == nil {
		return right
	}
	bad := network.Packet{Frame: frame}
	switch rng.IntN(4) {
	case 0:
		return []network.Packet{bad}
	case 1:
		return append([]network.Packet{bad}, right...)
	}
	return append(right, bad)
}

// another is an old message of a type that was sent least often, or one derived from it because such messages are rare.
func (a *Mutation) another(v *View) protocols.Message {
	if len(a.old) == 0 {
		return nil
	}
	all := v.derived(a.old[v.Rand.IntN(len(a.old))])
	for _, x := range a.old {
		all = append(all, x.Message)
	}
	v.Rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return slices.MinFunc(all, func(x, y protocols.Message) int { return a.sent[formOf(x)] - a.sent[formOf(y)] })
}

// mutated is the frame of a copy of m in which one field is changed, among those that were changed least often so far.
// It is nil if the copy cannot be encoded, or equals m.
func (a *Mutation) mutated(v *View, m protocols.Message) (frame []byte) {
	right := replica.Encode(m)
	c, err := replica.Decode(v.Committee, slices.Clone(right))
	if err != nil {
		return nil // a derived message
	}
	defer func() {
		if recover() != nil {
			frame = nil // such a message cannot be encoded
		}
	}()
	content, input := mutable(v, c)
	all := fieldsIn(content)
	if input != nil && v.Rand.IntN(2) == 0 {
		all = fieldsIn(input)
	}
	if len(all) == 0 {
		return nil
	}
	least := slices.MinFunc(all, func(x, y field) int { return a.noted[x.name] - a.noted[y.name] })
	all = slices.DeleteFunc(all, func(x field) bool { return a.noted[x.name] > a.noted[least.name] })
	f := all[v.Rand.IntN(len(all))]
	if !f.change(v.Rand, a.earlier(v, c, f.name)) {
		return nil
	}
	frame = signedAnew(v, c, input, f.name)
	if slices.Equal(frame, right) {
		return nil
	}
	if a.sent == nil {
		a.sent = make(map[form]int)
	}
	a.sent[formOf(m)]++
	a.note(f.name)
	return frame
}

// earlier is a field of an old message, if there is one.
func (a *Mutation) earlier(v *View, m protocols.Message, name string) *field {
	for _, x := range a.old {
		if x.Kind() != m.Kind() || v.Rand.IntN(2) == 0 {
			continue
		}
		c, err := replica.Decode(v.Committee, replica.Encode(x.Message))
		if err != nil {
			return nil
		}
		content, _ := mutable(v, c)
		for _, f := range fieldsIn(content) {
			if f.name == name {
				return &f
			}
		}
	}
	return nil
}

// form is the type of a message, with the variant if the type has several.
type form struct {
	kind protocols.Kind
	why  int  // of a proposal: without justification, by key, by no-votes
	yes  bool // of a vote in the agreement
}

func formOf(m protocols.Message) form {
	f := form{kind: m.Kind()}
	switch x := m.(type) {
	case *mvba.Proposal:
		if x.Justification != nil {
			f.why = 1 + min(len(x.Justification.NoVotes.Signatures), 1)
		}
	case *mvba.PreVote:
		f.yes = x.Yes
	case *mvba.Vote:
		f.yes = x.Yes
	}
	return f
}
