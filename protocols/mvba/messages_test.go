package mvba

import (
	"bytes"
	"reflect"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// sample is a message that an honest replica sent in a simulated world.
type sample struct {
	w    *world
	from protocols.Index
	msg  protocols.Message
}

// forms lists all kinds and variants of messages.
var forms = []string{"proposal", "proposal by key", "proposal by no-votes", "proposal by no-votes and key",
	"*mvba.Echo", "*mvba.Lock", "*mvba.Accept", "*mvba.Finish", "*coin.Release", "*coin.Relay",
	"yes pre-vote", "no pre-vote", "yes vote", "no vote", "no vote with key",
	"*mvba.Decision", "*mvba.FetchValue", "*mvba.Value", "*mvba.ResendRequest"}

// samples collects a message of every form from simulated instances.
func samples(t testing.TB) map[string]sample {
	t.Helper()
	found := map[string]sample{}
	tap := func(w *world) {
		w.tap = func(from protocols.Index, msg protocols.Message) { found[formOf(msg)] = sample{w, from, msg} }
	}
	w, a, b, c, d := scripted(t)
	tap(w)
	split(t, w, a, b, c, d, func(protocols.Index) {})
	alive := func(e *envelope) bool { return e.msg.Kind() != KindDecision && e.to != a && e.from != a }
	w.drive(t, d, 2, alive, b, c)
	w.drive(t, d, 3, alive, b, c)
	found["*mvba.ResendRequest"] = sample{w, b, &ResendRequest{At{theInstance, 9}}}
	for seed := uint64(1); seed < 400 && len(found) < len(forms); seed++ {
		w, err := newWorld(plan{n: 4, seed: seed, byzantine: 1, strategy: "arbitrary", schedule: "adversarial", breaks: 0.01})
		if err != nil {
			t.Fatal(err)
		}
		tap(w)
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
	}
	for _, form := range forms {
		if _, ok := found[form]; !ok {
			t.Fatalf("no sample of %s", form)
		}
	}
	return found
}

// formOf is the form of a message: its kind and variant.
func formOf(msg protocols.Message) string {
	switch m := msg.(type) {
	case *Proposal:
		switch {
		case m.Justification == nil:
			return "proposal"
		case m.Justification.byKey():
			return "proposal by key"
		case m.Justification.Key == nil:
			return "proposal by no-votes"
		}
		return "proposal by no-votes and key"
	case *PreVote:
		if m.Yes {
			return "yes pre-vote"
		}
		return "no pre-vote"
	case *Vote:
		switch {
		case m.Yes:
			return "yes vote"
		case m.Key == nil:
			return "no vote"
		}
		return "no vote with key"
	}
	return reflect.TypeOf(msg).String()
}

// TestEncodingsAreExact: every form of message has one encoding. A prefix of it does not decode, nor it with a suffix.
func TestEncodingsAreExact(t *testing.T) {
	for form, s := range samples(t) {
		body := s.msg.Append(nil)
		again, err := Decode(s.msg.Kind(), body)
		if err != nil {
			t.Errorf("%s does not decode: %v", form, err)
			continue
		}
		if !bytes.Equal(again.Append(nil), body) {
			t.Errorf("%s encodes to other bytes after decoding", form)
		}
		if in, ok := InstanceOf(again); !ok || in != theInstance {
			t.Errorf("%s belongs to instance %s", form, in)
		}
		for k := range body {
			if _, err := Decode(s.msg.Kind(), body[:k:k]); err == nil {
				t.Errorf("%s decodes from its first %d of %d bytes", form, k, len(body))
			}
		}
		if _, err := Decode(s.msg.Kind(), append(bytes.Clone(body), 0)); err == nil {
			t.Errorf("%s decodes with an extra byte", form)
		}
	}
	if _, err := Decode(KindResendRequest+1, nil); err == nil {
		t.Error("an unknown kind decodes")
	}
}

// TestSignaturesAreBound: a signature or coin share is not valid in another network, shard, epoch, kind, index or round, nor
// for another replica. So no message verifies after one of these is changed.
func TestSignaturesAreBound(t *testing.T) {
	committee := func(of *protocols.Committee, network string, shard uint16) *protocols.Committee {
		keys := make([]sig.PublicKey, of.N())
		for i := range keys {
			keys[i] = of.Key(protocols.Index(i))
		}
		c, err := protocols.NewCommittee(digest.Of("test", []byte(network)), shard, keys)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	rename := map[string]func(*At){
		"epoch": func(a *At) { a.Instance.Epoch++ },
		"kind":  func(a *At) { a.Instance.Kind++ },
		"index": func(a *At) { a.Instance.Index++ },
		"round": func(a *At) { a.Round++ },
	}
	for form, s := range samples(t) {
		w := s.w
		if err := verify(w, w.committee, s.from, s.msg); err != nil {
			t.Fatalf("%s is refused: %v", form, err)
		}
		switch s.msg.(type) {
		case *FetchValue, *Value, *ResendRequest:
			continue // have no signature
		}
		if p, ok := s.msg.(*Proposal); ok && p.Round == 1 {
			continue
		}
		for name, c := range map[string]*protocols.Committee{"network": committee(w.committee, "other", 3), "shard": committee(w.committee, "network", 4)} {
			if verify(w, c, s.from, s.msg) == nil {
				t.Errorf("%s verifies in another %s", form, name)
			}
		}
		for name, f := range rename {
			msg, err := Decode(s.msg.Kind(), s.msg.Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			switch m := msg.(type) {
			case *coin.Release:
				m.Name = renamed(m.Name, f)
			case *coin.Relay:
				m.Name = renamed(m.Name, f)
			default:
				at := reflect.ValueOf(m).Elem().FieldByName("At").Addr().Interface().(*At)
				f(at)
			}
			if verify(w, w.committee, s.from, msg) == nil {
				t.Errorf("%s verifies with another %s", form, name)
			}
		}
		switch m := s.msg.(type) {
		case *Echo, *Lock, *Accept, *Finish, *coin.Release, *Vote:
			if verify(w, w.committee, (s.from+1)%4, m) == nil {
				t.Errorf("%s verifies from another replica", form)
			}
		}
	}
}

// verify does the checks of a worker.
func verify(w *world, c *protocols.Committee, from protocols.Index, msg protocols.Message) error {
	proof, err := Check(c, from, msg)
	if err != nil {
		return err
	}
	return proof.Verify(w.scheme, w.coin)
}

func renamed(n coin.Name, f func(*At)) coin.Name {
	at := At{Instance{n.Epoch, n.Kind, n.Index}, n.Round}
	f(&at)
	return at.toss()
}

// TestIncompleteProofsAreRefused: a certificate with too few signers is refused, a decision without a correct coin, and a
// justification that does not fit its round.
func TestIncompleteProofsAreRefused(t *testing.T) {
	found := samples(t)
	refused := func(name string, s sample, msg protocols.Message) {
		t.Helper()
		if verify(s.w, s.w.committee, s.from, msg) == nil {
			t.Errorf("accepted: %s", name)
		}
	}
	s := found["*mvba.Finish"]
	finish := *s.msg.(*Finish)
	members := finish.Accepts.Signers.Members()
	fewer := protocols.Certificate{Signers: finish.Accepts.Signers, Signatures: finish.Accepts.Signatures[:len(members)-1]}
	fewer.Signers.Remove(members[len(members)-1])
	finish.Accepts = fewer
	refused("a Finish of n-f-1 accepts", s, &finish)

	d := found["*mvba.Decision"]
	decision := *d.msg.(*Decision)
	decision.Leader = (decision.Leader + 1) % 4
	refused("a decision of another leader", d, &decision)
	decision = *d.msg.(*Decision)
	decision.Coin = coin.Shares{}
	refused("a decision without coin", d, &decision)
	decision = *d.msg.(*Decision)
	decision.Digest[0] ^= 1
	refused("a decision of another value", d, &decision)

	{
		k := found["proposal by key"]
		p := *k.msg.(*Proposal)
		p.Digest[0] ^= 1
		refused("a proposal of another value than that of its key", k, &p)
		why := *p.Justification
		why.NoPreVotes = protocols.Certificate{}
		q := *k.msg.(*Proposal)
		q.Justification = &why
		refused("a proposal by key without no-pre-votes", k, &q)
	}
	{
		k := found["proposal by no-votes and key"]
		p := *k.msg.(*Proposal)
		why := *p.Justification
		why.Key = nil
		p.Justification = &why
		refused("no-votes that claim a key that is missing", k, &p)
	}
	{
		proposal := found["proposal by no-votes"]
		p := proposal.msg.(*Proposal)
		why := *p.Justification
		why.NoVotes.Claims = append([]uint32(nil), why.NoVotes.Claims...)
		why.NoVotes.Claims[0] = p.Round
		q := *p
		q.Justification = &why
		refused("a no-vote that claims a key of its own round", proposal, &q)
		q.Justification = nil
		refused("a proposal of a later round without justification", proposal, &q)
	}
}

// FuzzDecode: if bytes decode, the message encodes to the same bytes.
func FuzzDecode(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(byte(s.msg.Kind()), s.msg.Append(nil))
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		msg, err := Decode(protocols.Kind(kind), body)
		if err != nil {
			return
		}
		if again := msg.Append(nil); !bytes.Equal(again, body) {
			t.Fatalf("%T of %x encodes as %x", msg, body, again)
		}
	})
}

// FuzzRestore: a damaged store gives an error at Restore, never a panic.
func FuzzRestore(f *testing.F) {
	w, err := newWorld(plan{n: 4, seed: 5, byzantine: 0, strategy: "silent", schedule: "wild"})
	if err != nil {
		f.Fatal(err)
	}
	if err := w.run(); err != nil {
		f.Fatal(err)
	}
	r := w.replicas[0]
	for k, v := range r.store {
		f.Add([]byte(k), v)
	}
	f.Fuzz(func(t *testing.T, key, record []byte) {
		m, err := Restore(r.cfg, stored(map[string][]byte{string(key): record}))
		if err == nil {
			m.Start(0)
		}
	})
}
