package sim

import "bdtnode/protocols"

// Silent sends nothing at all.
type Silent struct{}

func (*Silent) String() string { return "is silent" }

func (*Silent) tamper(*node, protocols.Index, protocols.Message) []packet { return nil }
