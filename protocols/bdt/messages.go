package bdt

import (
	"slices"

	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// Messages is the table of all messages that a [Machine] handles: of its children and its own. The parent decodes LDs, see
// [inbound.Messages].
func Messages(maxLD int, decodeLD func(*protocols.Committee, []byte) (protocols.Message, error)) []protocols.Entry[mvba.Proof] {
	return slices.Concat(
		protocols.Lift(lanes.Messages, mvba.SignatureProof),
		protocols.Lift(inbound.Messages(maxLD, decodeLD), mvba.SignatureProof),
		ofEpochs(),
	)
}

// ofEpochs is the table of the messages that belong to one epoch.
func ofEpochs() []protocols.Entry[mvba.Proof] {
	return slices.Concat(protocols.Lift(bolt.Messages, mvba.SignatureProof), protocols.Lift(own, mvba.SignatureProof), mvba.Messages(inputChecks))
}

// epochs finds the entries of messages that belong to one epoch.
var epochs = protocols.NewTable(ofEpochs())

// inputChecks lists the signature checks that prove a value of the agreement, an encoded [Input].
func inputChecks(c *protocols.Committee, value []byte) ([]sig.Check, error) {
	x, err := DecodeInput(c, value)
	if err != nil {
		return nil, err
	}
	return x.SignatureChecks(c)
}

// epochOf is the epoch of a message. ok is false if the message does not belong to an epoch.
func epochOf(msg protocols.Message) (number uint64, ok bool) {
	e := epochs.Of(msg.Kind())
	if e == nil {
		return 0, false
	}
	return e.Epoch(msg), true
}
