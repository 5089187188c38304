package sim

import "bdtnode/protocols"

// Silent sends no message.
type Silent struct{}

func (*Silent) String() string { return "sends nothing" }

func (*Silent) tamper(*node, protocols.Index, protocols.Message) []packet { return nil }
