package main

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/admin"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	core "bdtnode/node/replica"
	"bdtnode/node/why"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
)

// withoutQuorum is the state of replica 1 of four, of which 2 and 3 do not answer, as in docs/debug.md.
func withoutQuorum() *core.View {
	missing := []protocols.Index{2, 3}
	return &core.View{
		Consensus: bdt.View{
			Epoch: 1, Committed: 449, Delivered: 449, Executed: 449,
			Lanes:    []lanes.View{{}, {Lane: 1, Highest: 128, Ordered: 96}, {}, {}},
			Patience: bdt.PatienceView{LimitMS: 400, MeanMS: 20, CeilingMS: 60_000},
			FastLane: bolt.View{LastSlot: 1000, Committed: 449, Proposed: 450, Left: true, Slots: []bolt.SlotView{{
				Slot: 450, Height: 450, Digest: "2a08df41", Proposed: true, SinceMS: 6100, VotedBy: []protocols.Index{0, 1}, OwnVote: bolt.VoteCast,
				WaitsFor: bolt.WaitVotes, Missing: missing, Needed: 1,
			}}},
			End: &bdt.EndView{Left: true, Missing: missing, Needed: 1, Statuses: []bdt.StatusView{{Replica: 0, Slot: 449}, {Replica: 1, Slot: 449}}},
		},
		Headers: certify.View{Executed: 449, Certified: 449},
		Start:   core.StartView{Signs: true, Answered: 2, Needed: 2},
		Peers:   []core.PeerView{{Replica: 0, Answers: true}, {Replica: 2, AnsweredMS: 45_200}, {Replica: 3, AnsweredMS: 45_200}},
	}
}

// printed is the text of a debug command for an answer.
func printed[T any](t *testing.T, head *admin.Head, v *T, text func(io.Writer, *T)) string {
	t.Helper()
	var out bytes.Buffer
	p := output.Printer{Out: &out, Err: io.Discard}
	if err := p.Data(v, func(w io.Writer) {
		printHead(w, head)
		text(w, v)
		printMissing(w, head)
	}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// samePieces fails unless printed text has the lines of a document in their order. A line "…" of the document stands for
// any number of lines, and other lines follow each other.
func samePieces(t *testing.T, document []string, text string) {
	t.Helper()
	have := shapes(strings.Split(text, "\n"))
	var piece []string
	at, exact := 0, true // the next piece begins exactly there, or there or below
	match := func() {
		for begin := at; begin+len(piece) <= len(have) && (begin == at || !exact); begin++ {
			if slices.Equal(have[begin:begin+len(piece)], piece) {
				at, exact, piece = begin+len(piece), false, nil
				return
			}
		}
		t.Fatalf("the document shows\n%s\nand the command prints, from line %d on,\n%s", strings.Join(piece, "\n"), at+1, strings.Join(have, "\n"))
	}
	for _, line := range shapes(document) {
		if line == "…" {
			match()
			continue
		}
		piece = append(piece, line)
	}
	match()
	if document[len(document)-1] != "…" && strings.TrimSpace(strings.Join(have[at:], "")) != "" {
		t.Errorf("the command prints more lines than the document shows:\n%s", strings.Join(have[at:], "\n"))
	}
}

// TestDocsShowNoProgress: docs/debug.md shows the consensus of a shard without a quorum as the command prints it.
func TestDocsShowNoProgress(t *testing.T) {
	v := withoutQuorum()
	c := &admin.Consensus{
		Head: admin.Head{Replica: 1}, Replicas: 4, Quorum: 3, Weak: 2,
		Position: admin.Position{
			Epoch: 1, Committed: 449, Executed: 449, Certified: 449, Answering: 2, WaitingMS: 6000, Work: "a batch waits",
			NotReady: "no commit for 5 s although a batch waits; 2 of 4 replicas answer, 3 needed",
		},
		Consensus: &v.Consensus, Headers: &v.Headers, CatchUp: &v.CatchUp, Start: &v.Start, Peers: v.Peers,
	}
	samePieces(t, shown(t, "docs/debug.md", "bdtnode debug consensus --replica 0/1"), printed(t, &c.Head, c, printConsensus))
}

// TestDocsShowAWait: docs/debug.md shows the reasons for which a transaction waits as the command prints them.
func TestDocsShowAWait(t *testing.T) {
	const now = 1_795_829_911_207
	s := &why.State{
		NowMS: now, Shards: 2, N: 4, F: 1, Self: 1, ExpiryMS: now + 268_000, Core: withoutQuorum(), Batch: driver.BatchUnanswered,
		Pool: &admission.TxView{Place: admission.PlaceReady, SinceMS: 32_200, ExpiryMS: now + 268_000},
	}
	w := &admin.Why{Head: admin.Head{Replica: 1, TimeMS: now}, Tx: ledger.TxID(digest.Of("a transaction")), Reasons: why.Explain(s)}
	samePieces(t, shown(t, "docs/debug.md", "bdtnode debug why"), printed(t, &w.Head, w, printWhy))
}
