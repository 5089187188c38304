package node

import (
	"context"
	"errors"

	"bdtnode/node/driver"
	"bdtnode/node/engine"
	"bdtnode/node/p2p"
	"bdtnode/node/xshardnet"
	"bdtnode/protocols"
)

// handler receives the input of the network: the engine gets frames of the own shard's consensus streams, package xshardnet
// gets gossip and requests.
type handler struct {
	*engine.Engine
	xshard *xshardnet.Service
	server *xshardnet.Server
}

var _ p2p.Handler = handler{}

// Serve implements [p2p.Handler].
func (h handler) Serve(ctx context.Context, shard uint16, from protocols.Index, request []byte, w func(frame []byte) error) error {
	return h.server.Serve(ctx, xshardnet.Peer{Shard: shard, Replica: from}, request, w)
}

// Gossip implements [p2p.Handler].
func (h handler) Gossip(data []byte) p2p.Verdict {
	switch err := h.xshard.Gossip(data); {
	case err == nil:
		return p2p.Accept
	case errors.Is(err, driver.ErrHeld):
		return p2p.Ignore
	default:
		outside.Debugw("gossip refused", "gossip", "error", err)
		return p2p.Reject
	}
}
