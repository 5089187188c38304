package node

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bdtnode/node/p2p"
)

// metrics is what GET /metrics answers: readings of the node's own counters, taken when asked for.
func (n *Node) metrics() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge := func(name, help string, read func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "bdt", Name: name, Help: help}, read))
	}
	counter := func(name, help string, labels prometheus.Labels, read func() float64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "bdt", Name: name, Help: help, ConstLabels: labels}, read))
	}
	gauge("height", "Height of the last executed block.", func() float64 { return float64(n.state.Height()) })
	gauge("committed_height", "Height of the last committed block.", func() float64 { return float64(n.engine.Status().Committed) })
	gauge("certified_height", "Height up to which headers carry f+1 VOTEs.", func() float64 { return float64(n.engine.Status().Certified) })
	gauge("epoch", "Current epoch.", func() float64 { return float64(n.engine.Status().Epoch) })
	gauge("connected_peers", "Other replicas of the shard with open streams.", func() float64 { return float64(n.net.ReadyPeers()) })
	gauge("answering_replicas", "Replicas of the shard whose engines answer, with this one.", func() float64 { return float64(n.read().answering) })
	gauge("waiting_seconds", "Age of the oldest work without a commit, 0 if there is none.", func() float64 { return n.read().waited.Seconds() })
	gauge("clock_offset_seconds", "Median of the shard's clocks less this replica's.", func() float64 { return n.read().clockOffset.Seconds() })
	gauge("book_transactions", "Transactions in the TX book.", func() float64 { return float64(n.engine.Holding().Book) })
	gauge("room_transactions", "Transactions that wait for an input.", func() float64 { return float64(n.engine.Holding().Room) })
	gauge("client_waits", "Transactions that client requests wait for.", func() float64 { return float64(n.engine.Holding().Waits) })
	gauge("latency_seconds", "Median time from acceptance to execution of this replica's recent submissions.", func() float64 { return n.engine.Latency().Seconds() })
	counter("transactions_ordered_total", "Transactions with a receipt since genesis.", nil, func() float64 {
		h, _, _ := n.state.Tip()
		return float64(h.Txs)
	})
	counter("disk_syncs_total", "Waits for the disk since the start.", nil, func() float64 { return float64(n.syncs()) })
	classes := map[string]func(p2p.Stats) p2p.ClassStats{
		"control": func(s p2p.Stats) p2p.ClassStats { return s.Control },
		"bulk":    func(s p2p.Stats) p2p.ClassStats { return s.Bulk },
	}
	for class, of := range classes {
		labels := prometheus.Labels{"class": class}
		counter("frames_in_total", "Frames received from replicas.", labels, func() float64 { return float64(of(n.net.Stats()).FramesIn) })
		counter("frames_out_total", "Frames sent to replicas.", labels, func() float64 { return float64(of(n.net.Stats()).FramesOut) })
		counter("bytes_in_total", "Bytes received from replicas.", labels, func() float64 { return float64(of(n.net.Stats()).BytesIn) })
		counter("bytes_out_total", "Bytes sent to replicas.", labels, func() float64 { return float64(of(n.net.Stats()).BytesOut) })
	}
	gossip := func(name, help string, read func(p2p.GossipStats) uint64) {
		counter("gossip_"+name+"_total", help, nil, func() float64 { return float64(read(n.net.Stats().Gossip)) })
	}
	gossip("out", "LDs published.", func(g p2p.GossipStats) uint64 { return g.Out })
	gossip("in", "Gossip messages received.", func(g p2p.GossipStats) uint64 { return g.In })
	gossip("rejected", "Gossip messages that were garbage.", func(g p2p.GossipStats) uint64 { return g.Rejected })
	gossip("lost", "Gossip messages dropped here, on their way out or in: destinations pull them by number.", func(g p2p.GossipStats) uint64 {
		return g.Unsent + g.LostOut + g.LostIn
	})
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}
