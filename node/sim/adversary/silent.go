package adversary

import (
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
)

// Silent sends no message.
type Silent struct{}

func (*Silent) String() string { return "sends nothing" }

func (*Silent) Replace(*View, protocols.Index, protocols.Message) []network.Packet { return nil }
