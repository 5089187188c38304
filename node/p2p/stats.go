package p2p

import "sync/atomic"

// ClassStats counts one class of traffic since the start. Bytes are those of frames, without headers.
type ClassStats struct {
	FramesIn, FramesOut uint64
	BytesIn, BytesOut   uint64
	// Lost counts frames dropped by queue overflows. Frames sent to a peer without a session are not counted.
	Lost uint64
}

// Stats contains the network's counters since the start.
type Stats struct {
	Control, Bulk ClassStats
	// Sessions counts sessions, Dropped peers dropped for violations, and Refused refused connections and streams: of
	// peers that are not members, of other networks, or of banned peers.
	Sessions, Dropped, Refused uint64
	// Served counts requests answered completely, Asked requests with a complete answer.
	Served, Asked uint64
	Gossip        GossipStats
}

// GossipStats counts gossip since the start.
type GossipStats struct {
	// Out and BytesOut count publications of [Net.Publish] passed to GossipSub, In and BytesIn messages passed to the
	// Handler.
	Out, In           uint64
	BytesOut, BytesIn uint64
	// Accepted, Ignored and Rejected count the Handler's verdicts on them.
	Accepted, Ignored, Rejected uint64
	// Unsent counts publications refused for their size or number, LostOut messages for which one peer's queue had no
	// space, and LostIn messages that arrived while the Handler was busy.
	Unsent, LostOut, LostIn uint64
}

type classCounters struct {
	framesIn, framesOut, bytesIn, bytesOut, lost atomic.Uint64
}

func (c *classCounters) received(bytes int) {
	c.framesIn.Add(1)
	c.bytesIn.Add(uint64(bytes))
}

func (c *classCounters) sent(bytes int) {
	c.framesOut.Add(1)
	c.bytesOut.Add(uint64(bytes))
}

func (c *classCounters) read() ClassStats {
	return ClassStats{
		FramesIn: c.framesIn.Load(), FramesOut: c.framesOut.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(), Lost: c.lost.Load(),
	}
}

type counters struct {
	class                      [classes]classCounters
	sessions, dropped, refused atomic.Uint64
	served, asked              atomic.Uint64
	gossip                     gossipCounters
}

type gossipCounters struct {
	out, in, bytesOut, bytesIn atomic.Uint64
	verdicts                   [verdicts]atomic.Uint64
	unsent, lostOut, lostIn    atomic.Uint64
}

func (c *gossipCounters) read() GossipStats {
	return GossipStats{
		Out: c.out.Load(), In: c.in.Load(), BytesOut: c.bytesOut.Load(), BytesIn: c.bytesIn.Load(),
		Accepted: c.verdicts[Accept].Load(), Ignored: c.verdicts[Ignore].Load(), Rejected: c.verdicts[Reject].Load(),
		Unsent: c.unsent.Load(), LostOut: c.lostOut.Load(), LostIn: c.lostIn.Load(),
	}
}

func (c *counters) read() Stats {
	return Stats{
		Control: c.class[Control].read(), Bulk: c.class[Bulk].read(),
		Sessions: c.sessions.Load(), Dropped: c.dropped.Load(), Refused: c.refused.Load(),
		Served: c.served.Load(), Asked: c.asked.Load(), Gossip: c.gossip.read(),
	}
}

// Use is the use of a bounded resource.
type Use struct{ Used, Limit int64 }

// Load is the use of the network's queues.
type Load struct {
	Control, Bulk         Use // bytes of frames that wait for one peer of the shard, for the peer with most
	Serving, ServingBytes Use // requests of members in service beyond 1 of each member's own, and their bytes
	Asking, AskingBytes   Use // open requests to members, likewise
}

// Load reads the use of the queues.
func (n *Net) Load() Load {
	l := Load{
		Control: Use{0, int64(n.cfg.Limits.ControlQueue)}, Bulk: Use{0, int64(n.cfg.Limits.BulkQueue)},
		Serving: n.answering.open.use(), ServingBytes: n.answering.held.use(),
		Asking: n.asking.open.use(), AskingBytes: n.asking.held.use(),
	}
	for _, m := range n.members {
		if m == nil {
			continue
		}
		if s := m.active.Load(); s != nil {
			l.Control.Used = max(l.Control.Used, int64(s.queues[Control].waiting()))
			l.Bulk.Used = max(l.Bulk.Used, int64(s.queues[Bulk].waiting()))
		}
	}
	return l
}
