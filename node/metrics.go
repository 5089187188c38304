package node

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bdtnode/node/p2p"
)

// metrics serves GET /metrics. It reads the node's counters at each request.
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
	gauge("epoch", "Number of the current epoch.", func() float64 { return float64(n.engine.Status().Epoch) })
	gauge("connected_peers", "Other replicas of the shard with open streams.", func() float64 { return float64(n.net.ReadyPeers()) })
	gauge("answering_replicas", "Replicas of the shard whose engines answer, including this one.", func() float64 { return float64(n.read().answering) })
	gauge("waiting_seconds", "Time for which work has waited without a commit, 0 if no work waits.", func() float64 { return n.read().waited.Seconds() })
	gauge("clock_offset_seconds", "Median of the shard's clocks minus this replica's clock.", func() float64 { return n.read().clockOffset.Seconds() })
	gauge("book_transactions", "Transactions in the mempool.", func() float64 { return float64(n.engine.Holding().Mempool) })
	gauge("room_transactions", "Transactions that wait for an input.", func() float64 { return float64(n.engine.Holding().Orphans) })
	gauge("client_waits", "Transactions for which client requests wait.", func() float64 { return float64(n.engine.Holding().Waits) })
	gauge("latency_seconds", "Median time from acceptance to execution of this replica's recent submissions.", func() float64 { return n.engine.Latency().Seconds() })
	counter("transactions_ordered_total", "Transactions with a receipt since genesis.", nil, func() float64 {
		h, _, _ := n.state.Tip()
		return float64(h.Txs)
	})
	counter("disk_syncs_total", "Disk syncs since the start.", nil, func() float64 { return float64(n.syncs()) })
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
	gossip("rejected", "Malformed or invalid gossip messages.", func(g p2p.GossipStats) uint64 { return g.Rejected })
	gossip("lost", "Gossip messages dropped by this replica, outgoing or incoming; destinations fetch the LDs by number.", func(g p2p.GossipStats) uint64 {
		return g.Unsent + g.LostOut + g.LostIn
	})
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}
