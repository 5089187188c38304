package trace

import (
	"fmt"

	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// Describe is a short description of a message.
//
//nolint:cyclop // one case for each kind of message
func Describe(m protocols.Message) string {
	switch x := m.(type) {
	case *lanes.Batch:
		return fmt.Sprintf("batch lane %d seq %d %s parent %s count %d", x.Lane, x.Seq, x.Digest().Short(), x.Parent.Short(), x.Count)
	case *lanes.Ack:
		return fmt.Sprintf("ack lane %d seq %d %s", x.Lane, x.Tip.Seq, x.Tip.Digest.Short())
	case *lanes.TipCertificate:
		return fmt.Sprintf("certificate lane %d seq %d %s", x.Lane, x.Tip.Seq, x.Tip.Digest.Short())
	case *lanes.Fetch:
		return fmt.Sprintf("fetch lane %d seq %d %s after %d", x.Lane, x.Tip.Seq, x.Tip.Digest.Short(), x.After)
	case *lanes.Conflict:
		return fmt.Sprintf("conflict lane %d seq %d %s", x.Lane, x.Seq, x.Digest().Short())
	case *bolt.Propose:
		return fmt.Sprintf("propose epoch %d slot %d %s parent %s cut %s", x.Block.Epoch, x.Block.Slot, x.Block.Digest().Short(), x.Block.Parent.Short(), cutString(x.Block.Cut))
	case *bolt.Vote:
		return fmt.Sprintf("vote epoch %d slot %d %s", x.Epoch, x.Slot, x.Digest.Short())
	case *bolt.Finalize:
		return fmt.Sprintf("finalize epoch %d slot %d %s", x.Epoch, x.Slot, x.Digest.Short())
	case *bolt.FetchBlock:
		return fmt.Sprintf("fetch block slot %d %s", x.Slot, x.Digest.Short())
	case *inbound.SIGN:
		return fmt.Sprintf("SIGN shard %d LD %d %s", x.Source, x.Tip.Seq, x.Tip.Digest.Short())
	case *inbound.FetchLD:
		return fmt.Sprintf("fetch of shard %d LDs %d..%d", x.Source, x.After+1, x.Tip.Seq)
	case *replica.Inbound:
		return fmt.Sprintf("LD %d of shard %d %s", x.Number, x.Source, x.Digest.Short())
	case *certify.VOTE:
		return fmt.Sprintf("VOTE height %d %s", x.Height, x.Header.Short())
	case *replica.Position:
		return fmt.Sprintf("position certified %d again %v", x.Certified, x.Again)
	case *replica.Hello:
		return fmt.Sprintf("hello start %d nonce %d epoch %d slot %d number %d", x.Boot, x.Nonce, x.Epoch, x.Slot, x.Number)
	case *replica.Known:
		return fmt.Sprintf("known of replica %d start %d nonce %d", x.Member, x.Boot, x.Nonce)
	case *replica.Fenced:
		return fmt.Sprintf("fenced by start %d nonce %d", x.Boot, x.Nonce)
	case *replica.Ping:
		return fmt.Sprintf("ping %d", x.Sent)
	case *replica.Pong:
		return fmt.Sprintf("pong %d wall %d", x.Sent, x.Wall)
	case *replica.Request:
		return fmt.Sprintf("request from %d", x.From)
	case *bdt.Status:
		return fmt.Sprintf("Status epoch %d slot %d %s tips %s", x.Epoch, x.Slot, x.Digest.Short(), cutString(x.Cut))
	case *replica.History:
		if len(x.Items) == 0 {
			return "history of nothing"
		}
		return fmt.Sprintf("history %d..%d", x.Items[0].Block.Height, x.Items[len(x.Items)-1].Block.Height)
	case *toss.Release:
		return fmt.Sprintf("agreement epoch %d round %d share of the coin", x.Name.Epoch, x.Name.Round)
	case *toss.Relay:
		return fmt.Sprintf("agreement epoch %d round %d shares of the coin", x.Name.Epoch, x.Name.Round)
	}
	return describeAgreement(m)
}

func describeAgreement(m protocols.Message) string {
	at := func(a mvba.At, format string, args ...any) string {
		return fmt.Sprintf("agreement epoch %d round %d ", a.Instance.Epoch, a.Round) + fmt.Sprintf(format, args...)
	}
	switch x := m.(type) {
	case *mvba.Proposal:
		return at(x.At, "proposal %s", x.Digest.Short())
	case *mvba.Echo:
		return at(x.At, "echo of %d %s", x.Broadcaster, x.Digest.Short())
	case *mvba.Lock:
		return at(x.At, "lock %s", x.Digest.Short())
	case *mvba.Accept:
		return at(x.At, "accept of %d %s", x.Broadcaster, x.Digest.Short())
	case *mvba.Finish:
		return at(x.At, "finish %s", x.Digest.Short())
	case *mvba.PreVote:
		return at(x.At, "pre-vote %s on %d %s", yes(x.Yes), x.Leader, x.Digest.Short())
	case *mvba.Vote:
		return at(x.At, "vote %s on %d %s", yes(x.Yes), x.Leader, x.Digest.Short())
	case *mvba.Decision:
		return at(x.At, "decision %s of %d", x.Digest.Short(), x.Leader)
	case *mvba.ResendRequest:
		return at(x.At, "resend request")
	case *mvba.FetchValue:
		return fmt.Sprintf("agreement epoch %d fetches %s", x.Instance.Epoch, x.Digest.Short())
	case *mvba.Value:
		return fmt.Sprintf("agreement epoch %d value of %d bytes", x.Instance.Epoch, len(x.Value))
	}
	return fmt.Sprintf("%T", m)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func cutString(c lanes.Cut) string {
	s := ""
	for i, t := range c {
		if i > 0 {
			s += ","
		}
		s += fmt.Sprint(t.Seq)
	}
	return s
}
