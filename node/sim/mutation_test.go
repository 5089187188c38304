package sim

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/node/sim/adversary"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/cancel"
	"bdtnode/protocols/certify"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
	"bdtnode/protocols/vouch"
	"bdtnode/shard/settlement"
)

// everyType is every message type inside a shard, with the part that can be changed.
var everyType = map[protocols.Kind]any{
	lanes.KindBatch: lanes.Batch{}, lanes.KindAck: lanes.Ack{}, lanes.KindCertified: lanes.TipCertificate{},
	lanes.KindFetch: lanes.Fetch{}, lanes.KindConflict: lanes.Conflict{},
	bolt.KindPropose: bolt.Propose{}, bolt.KindVote: bolt.Vote{}, bolt.KindFinalize: bolt.Finalize{}, bolt.KindFetchBlock: bolt.FetchBlock{},
	inbound.KindLD: settlement.LD{}, inbound.KindSIGN: inbound.SIGN{}, inbound.KindFetchLD: inbound.FetchLD{},
	cancel.KindCLM: cancel.CLM{}, vouch.KindVouch: vouch.Vouch{}, inbound.KindCertificate: inbound.TipCertificate{}, bdt.KindStatus: bdt.Status{}, certify.KindVOTE: certify.VOTE{},
	replica.KindPosition: replica.Position{}, replica.KindRequest: replica.Request{}, replica.KindHistory: replica.History{},
	replica.KindPing: replica.Ping{}, replica.KindPong: replica.Pong{},
	replica.KindHello: replica.Hello{}, replica.KindKnown: replica.Known{}, replica.KindFenced: replica.Fenced{},
	toss.KindRelease: toss.Release{}, toss.KindRelay: toss.Relay{},
	mvba.KindProposal: mvba.Proposal{}, mvba.KindEcho: mvba.Echo{}, mvba.KindLock: mvba.Lock{}, mvba.KindAccept: mvba.Accept{},
	mvba.KindFinish: mvba.Finish{}, mvba.KindPreVote: mvba.PreVote{}, mvba.KindVote: mvba.Vote{}, mvba.KindDecision: mvba.Decision{},
	mvba.KindFetchValue: mvba.FetchValue{}, mvba.KindValue: mvba.Value{}, mvba.KindResendRequest: mvba.ResendRequest{},
}

// notWritten lists fields that are not encoded, because other fields determine them.
var notWritten = []string{
	"cancel.CLM.Digest",
	"bdt.Input.Claims[].Claim.Epoch", "bdt.Status.QC.Epoch", "bdt.Status.QC.Slot", "bdt.Status.QC.Digest", "bdt.Status.Certificates", "bdt.Status.Certificates[].Lane",
	"bdt.Status.Certificates[].Tip.Seq", "bdt.Status.Certificates[].Tip.Digest", "bdt.Status.Deliveries",
	"bdt.Status.Deliveries[].Source", "bdt.Status.Deliveries[].Tip.Seq", "bdt.Status.Deliveries[].Tip.Digest",
}

var txType = reflect.TypeFor[ledger.Tx]() // it is not changed: clients make and sign it

// namesOf lists the fields of a type by the names that a [Mutation] uses.
func namesOf(t reflect.Type, name string) []string {
	switch {
	case t == txType:
		return nil
	case t.Kind() == reflect.Pointer:
		return namesOf(t.Elem(), name)
	case t.Kind() == reflect.Struct:
		var all []string
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() {
				all = append(all, namesOf(f.Type, name+"."+f.Name)...)
			}
		}
		return all
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		return append([]string{name}, namesOf(t.Elem(), name+"[]")...)
	}
	return []string{name}
}

// TestEveryFieldIsMutated: over some seeds, every field of every message type was changed and sent.
func TestEveryFieldIsMutated(t *testing.T) {
	t.Parallel()
	cfg, _ := alone(1)
	w, err := newWorld(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for k := range 256 {
		_, err := replica.Decode(w.Shards[0].Committee, []byte{byte(k)})
		known := err == nil || !strings.Contains(err.Error(), "unknown") && !strings.Contains(err.Error(), "is not of a message")
		if _, listed := everyType[protocols.Kind(k)]; known != listed {
			t.Errorf("kind %#x: listed %v, decoded %v (%v)", k, listed, known, err)
		}
	}
	var names []string
	for _, x := range append([]any{bdt.Input{}}, everyOf()...) {
		names = append(names, namesOf(reflect.TypeOf(x), reflect.TypeOf(x).String())...)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(notWritten, name) })
	told, refused, runs := make(map[string]int), 0, uint64(0)
	missing := func(name string) bool { return told[name] == 0 }
	for p := planOf(t, "mutation,vouched", 3); runs < mostSeeds && slices.ContainsFunc(names, missing); {
		p.For, p.Nodes, p.Consensus = 10*time.Second, []int{4}, "bdt"
		runs++
		cfg, err := p.Scenario(runs)
		if err != nil {
			t.Fatal(err)
		}
		for k := range cfg.Shards {
			cfg.Shards[k].Slots = 10
			cfg.Shards[k].Byzantine[0].Behaviour.(*adversary.Mutation).Rate = 0.5
		}
		r, err := Run(t.Context(), cfg, nil)
		if err != nil {
			report(t, err)
			return
		}
		refused += r.Refused
		for k := range cfg.Shards {
			for what, count := range adversary.CountsOf(cfg.Shards[k].Byzantine[0].Behaviour) {
				told[what] += count
			}
		}
	}
	for _, name := range names {
		if missing(name) {
			t.Errorf("never changed: %s", name)
		}
	}
	t.Logf("%d fields, %d changed messages in %d runs, %d refused", len(names), total(told), runs, refused)
}

func everyOf() []any {
	var all []any
	for k := range 256 {
		if x := everyType[protocols.Kind(k)]; x != nil {
			all = append(all, x)
		}
	}
	return all
}

func total(l map[string]int) (n int) {
	for _, count := range l {
		n += count
	}
	return n
}
