package mvba

import (
	"fmt"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// Kinds of messages, in the order of a round.
const (
	KindProposal = protocols.KindsMVBA + iota
	KindEcho
	KindLock
	KindAccept
	KindFinish
	KindPreVote
	KindVote
	KindDecision
	KindFetchValue
	KindValue
	KindResendRequest
)

// Greatest lengths of encoded parts of messages, in bytes.
const (
	signedMax        = digest.Size + sig.SignatureSize
	provedMax        = digest.Size + protocols.CertificateMax
	keyMax           = 4 + 2 + provedMax + coin.SharesMax
	noVotesMax       = 2 + protocols.MaxReplicas*(2+4+sig.SignatureSize)
	justificationMax = 1 + keyMax + max(protocols.CertificateMax, noVotesMax)
)

// Messages is the table of the messages of an agreement and of its coin. If checks is not nil, it does the checks of a
// value that need no state and lists the signatures that prove the value; they are part of the proof of each message
// that has a value. An error of checks is a fault of the sender.
func Messages(checks func(c *protocols.Committee, value []byte) ([]sig.Check, error)) []protocols.Entry[Proof] {
	own := protocols.Entries(protocols.KindsMVBA,
		entry(KindProposal, "Proposal", atSize+max(4+MaxValue, digest.Size+justificationMax), decodeProposal,
			withValue(proved[*Proposal], func(m *Proposal) []byte { return m.Value }, checks)),
		entry(KindEcho, "Echo", atSize+2+signedMax, decodeEcho, proved[*Echo]),
		entry(KindLock, "Lock", atSize+provedMax, decodeLock, proved[*Lock]),
		entry(KindAccept, "Accept", atSize+2+signedMax, decodeAccept, proved[*Accept]),
		entry(KindFinish, "Finish", atSize+provedMax, decodeFinish, proved[*Finish]),
		entry(KindPreVote, "PreVote", atSize+2+1+provedMax, decodePreVote, proved[*PreVote]),
		entry(KindVote, "Vote", atSize+2+1+protocols.CertificateMax+1+keyMax+sig.SignatureSize, decodeVote, proved[*Vote]),
		entry(KindDecision, "Decision", atSize+2+provedMax+coin.SharesMax, decodeDecision, proved[*Decision]),
		entry(KindFetchValue, "FetchValue", instanceSize+digest.Size, decodeFetchValue, nil),
		entry(KindValue, "Value", instanceSize+4+MaxValue, decodeValue,
			withValue(nil, func(m *Value) []byte { return m.Value }, checks)),
		entry(KindResendRequest, "ResendRequest", atSize, decodeResendRequest, nil),
	)
	tosses := protocols.Lift(coin.Messages, func(k coin.Check) Proof { return Proof{Tosses: []coin.Check{k}} })
	return slices.Concat(tosses, own)
}

// messages finds the entries of the table by kind.
var messages = protocols.NewTable(Messages(nil))

// check is the check of an entry; a nil one accepts every message.
type check = func(c *protocols.Committee, from protocols.Index, msg protocols.Message) (Proof, error)

func entry[M protocols.Message](kind protocols.Kind, name string, most int, decode func([]byte) (M, error), check check) protocols.Entry[Proof] {
	return protocols.Entry[Proof]{
		Kind: kind, Name: name, Max: most, Decode: protocols.Decoder(decode), Check: check, Epoch: epochOf,
	}
}

// epochOf is the epoch of a message of an agreement.
func epochOf(msg protocols.Message) uint64 {
	in, _ := InstanceOf(msg)
	return in.Epoch
}

// proved is the check of a message that lists its own proofs.
func proved[M interface {
	check(*protocols.Committee, protocols.Index, *Proof) error
}](c *protocols.Committee, from protocols.Index, msg protocols.Message) (Proof, error) {
	var p Proof
	if err := msg.(M).check(c, from, &p); err != nil {
		return Proof{}, err
	}
	return p, nil
}

// withValue is the check own together with that of the value of a message, if there is one.
func withValue[M any](own check, value func(m M) []byte, checks func(*protocols.Committee, []byte) ([]sig.Check, error)) check {
	if checks == nil {
		return own
	}
	return func(c *protocols.Committee, from protocols.Index, msg protocols.Message) (p Proof, err error) {
		if own != nil {
			if p, err = own(c, from, msg); err != nil {
				return Proof{}, err
			}
		}
		v := value(msg.(M))
		if v == nil {
			return p, nil
		}
		more, err := checks(c, v)
		if err != nil {
			return Proof{}, err
		}
		p.Signatures = append(p.Signatures, more...)
		return p, nil
	}
}

// Decode reads the body of a message of this package or of package coin. The result aliases b. It returns an error for other
// kinds and for malformed bodies.
func Decode(kind protocols.Kind, b []byte) (protocols.Message, error) {
	return messages.Decode(nil, kind, b)
}

// Check lists the checks that prove that from, a replica of c, was allowed to send msg, except those of its value. It returns
// an error if no check can prove it; that is a fault of from.
func Check(c *protocols.Committee, from protocols.Index, msg protocols.Message) (Proof, error) {
	e := messages.Of(msg.Kind())
	switch {
	case e == nil:
		return Proof{}, fmt.Errorf("a message of kind %#x is not of an agreement", uint8(msg.Kind()))
	case e.Check == nil:
		return Proof{}, nil
	}
	return e.Check(c, from, msg)
}
