package node

import (
	"net/http"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bdtnode/internal/histogram"
	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/engine"
	"bdtnode/node/loglimit"
	"bdtnode/node/p2p"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
)

// metricPrefix begins the names of this program's metrics.
const metricPrefix = "bdtnode_"

// family is one metric, with all its labels. docs/metrics.md lists the families.
type family struct {
	name   string // without the prefix
	typ    string // gauge, counter or histogram
	unit   string // of the values; empty for a number without a unit
	help   string
	labels []string
	read   func(s *scrape, emit emit)
}

// emit gives one value, with the values of the labels. A family of histograms calls [scrape].hist instead.
type emit func(value float64, labels ...string)

// scrape is one reading of the node's state, which all families share.
type scrape struct {
	*Node
	health
	status engine.Status
	tip    ledger.Header
	seen   engine.Presence
	load   engine.Load
	links  p2p.Load
	stats  p2p.Stats
	served api.Load
	disks  map[string]kv.DiskUse
	kinds  map[string][]kv.KindUse
	// hist gives the counts of a histogram of the family that is read. The values divided by scale have the family's unit.
	hist func(h *histogram.Histogram, scale float64, labels ...string)
}

func (n *Node) scrape() *scrape {
	s := &scrape{
		Node: n, health: n.health(), status: n.engine.Status(), seen: n.engine.Presence(), load: n.engine.Load(),
		links: n.net.Load(), stats: n.net.Stats(), served: n.api.Load(),
		disks: map[string]kv.DiskUse{consensusDir: n.consensus.DiskUse(), ledgerDir: n.ledgerKV.DiskUse()},
		kinds: n.kinds.read(time.Now(), n.kindUse),
	}
	s.tip, _, _ = n.chain.Tip()
	return s
}

// peers calls do for each other replica of the shard.
func (s *scrape) peers(do func(i protocols.Index, label string)) {
	for i := range s.committee.N() {
		if i := protocols.Index(i); i != s.home.Replica {
			do(i, strconv.Itoa(int(i)))
		}
	}
}

// collector is the [prometheus.Collector] of a node. It reads the state at each request.
type collector struct {
	node  *Node
	descs []*prometheus.Desc // by family
}

func newCollector(n *Node) *collector {
	c := &collector{node: n}
	for _, f := range families {
		c.descs = append(c.descs, prometheus.NewDesc(metricPrefix+f.name, f.help, f.labels, nil))
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s := c.node.scrape()
	for i, f := range families {
		typ := prometheus.GaugeValue
		if f.typ == counter {
			typ = prometheus.CounterValue
		}
		s.hist = func(h *histogram.Histogram, scale float64, labels ...string) {
			x := h.Read()
			buckets := make(map[float64]uint64, len(x.Bounds))
			for k, bound := range x.Bounds {
				buckets[float64(bound)/scale] = x.Below[k]
			}
			to <- prometheus.MustNewConstHistogram(c.descs[i], x.Count, float64(x.Sum)/scale, buckets, labels...)
		}
		f.read(s, func(value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(c.descs[i], typ, value, labels...)
		})
	}
}

// newRegistry returns the registry of the node's metrics, of the runtime and of the process.
func newRegistry(n *Node) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(n))
	return reg
}

// metrics serves GET /metrics. The answer is not compressed: that would take more processor time than all else in it.
func (n *Node) metrics() http.Handler {
	return promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{DisableCompression: true})
}

// Types of families.
const (
	gauge   = "gauge"
	counter = "counter"
	hist    = "histogram"
)

// value makes a family with one value.
func value(typ, name, unit, help string, read func(s *scrape) float64) family {
	return family{name: name, typ: typ, unit: unit, help: help, read: func(s *scrape, emit emit) { emit(read(s)) }}
}

// labelled makes a family with labels.
func labelled(typ, name, unit, help string, labels []string, read func(s *scrape, emit emit)) family {
	return family{name: name, typ: typ, unit: unit, help: help, labels: labels, read: read}
}

// durations makes a histogram in seconds.
func durations(name, help string, of func(s *scrape) *histogram.Histogram) family {
	return family{name: name, typ: hist, unit: "seconds", help: help, read: func(s *scrape, _ emit) { s.hist(of(s), float64(time.Second)) }}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// families are the metrics of this program, in the order of docs/metrics.md.
var families = []family{
	labelled(gauge, "build_info", "", "Always 1; the labels describe the program.", []string{"version", "go"}, func(s *scrape, emit emit) {
		emit(1, s.version, runtime.Version())
	}),
	labelled(gauge, "replica_info", "", "Always 1; the labels describe the replica.", []string{"network", "consensus", "shard", "replica", "peer"}, func(s *scrape, emit emit) {
		emit(1, s.committee.Network().String(), s.home.Genesis.Consensus, strconv.Itoa(int(s.home.Shard)), strconv.Itoa(int(s.home.Replica)), s.Node.net.PeerID())
	}),

	value(gauge, "ready", "", "1 if the replica is ready, else 0.", func(s *scrape) float64 { return truth(s.obstacle() == noObstacle) }),
	labelled(gauge, "not_ready", "", "1 for the cause for which the replica is not ready, else 0.", []string{"cause"}, func(s *scrape, emit emit) {
		for _, o := range obstacles {
			emit(truth(s.obstacle() == o), string(o))
		}
	}),
	value(gauge, "degraded", "", "1 if the replica reports a fault that may exist while it is ready, else 0.", func(s *scrape) float64 { return truth(s.degraded() != "") }),
	value(gauge, "shard_replicas", "", "Replicas of the shard, n.", func(s *scrape) float64 { return float64(s.replicas) }),
	value(gauge, "quorum_replicas", "", "Replicas of the shard that must answer, n-f.", func(s *scrape) float64 { return float64(s.quorum) }),
	value(gauge, "answering_replicas", "", "Replicas of the shard whose engines answered in the last 3 s, including this one.", func(s *scrape) float64 { return float64(s.answering) }),
	value(gauge, "connected_replicas", "", "Other replicas of the shard with both streams up.", func(s *scrape) float64 { return float64(s.Node.net.ReadyPeers()) }),
	value(gauge, "waiting_seconds", "seconds", "Time for which work has waited without a commit, 0 if no work waits.", func(s *scrape) float64 { return s.waited.Seconds() }),
	value(gauge, "clock_offset_seconds", "seconds", "Median of the shard's clocks minus the clock of this replica.", func(s *scrape) float64 { return s.clockOffset.Seconds() }),
	value(gauge, "clock_wrong", "", "1 if the clock of this replica is too far from the shard's, else 0.", func(s *scrape) float64 { return truth(s.clockOff) }),

	value(gauge, "height", "", "Height of the last executed block.", func(s *scrape) float64 { return float64(s.tip.Height) }),
	value(gauge, "state_height", "", "Height of the newest state of the ledger whose root is computed, 0 if there is none.", func(s *scrape) float64 {
		root, _, _ := s.chain.States().Last()
		return float64(root.Height)
	}),
	value(gauge, "committed_height", "", "Height of the last committed block.", func(s *scrape) float64 { return float64(s.status.Committed) }),
	value(gauge, "certified_height", "", "Height up to which headers carry f+1 VOTEs.", func(s *scrape) float64 { return float64(s.status.Certified) }),
	value(gauge, "target_height", "", "Greatest height that another replica of the shard has shown.", func(s *scrape) float64 { return float64(s.target) }),
	value(gauge, "block_timestamp_seconds", "seconds", "Block time of the last executed block, Unix time.", func(s *scrape) float64 { return float64(s.tip.TimeMS) / 1000 }),
	value(gauge, "epoch", "", "Number of the current epoch.", func(s *scrape) float64 { return float64(s.status.Epoch) }),
	value(gauge, "leader", "", "Index of the leader of the current epoch.", func(s *scrape) float64 { return float64(s.status.Leader) }),
	value(gauge, "is_leader", "", "1 if this replica leads the current epoch, else 0.", func(s *scrape) float64 { return truth(s.status.Leader == s.home.Replica) }),
	labelled(counter, "epochs_ended_total", "", "Epochs that ended since the start, by cause.", []string{"cause"}, func(s *scrape, emit emit) {
		ends := s.status.Ends
		for c := range bdt.Cause(bdt.Causes) {
			emit(float64(ends.Count[c]), c.String())
		}
	}),
	durations("epoch_end_duration_seconds", "Time from this replica's Status to the next epoch, of epochs that it left.", func(s *scrape) *histogram.Histogram { return s.measures().EpochEnd }),
	labelled(hist, "agreement_rounds", "", "Rounds of the agreements whose decision this replica knows.", nil, func(s *scrape, _ emit) { s.hist(s.measures().Rounds, 1) }),
	labelled(hist, "slot_phase_duration_seconds", "seconds", "Time of the phases of a slot: quorum from the proposal to this replica's Finalize, commit from there to the commit.", []string{"phase"}, func(s *scrape, _ emit) {
		s.hist(s.measures().Quorum, float64(time.Second), "quorum")
		s.hist(s.measures().Finalize, float64(time.Second), "commit")
	}),

	labelled(hist, "transaction_stage_duration_seconds", "seconds", "Time of the stages of a transaction, see the table of stages.", []string{"stage"}, func(s *scrape, _ emit) {
		m := s.measures()
		for _, x := range []struct {
			stage string
			h     *histogram.Histogram
		}{
			{"admission", m.Admission}, {"batch", m.Batched}, {"certificate", m.Certificate}, {"commit", m.Commit},
			{"execution", m.Executed}, {"certification", m.Certified}, {"final", m.Final}, {"settlement", s.settlement},
		} {
			s.hist(x.h, float64(time.Second), x.stage)
		}
	}),
	value(counter, "transactions_ordered_total", "", "Transactions with a receipt since genesis.", func(s *scrape) float64 { return float64(s.tip.Txs) }),
	labelled(counter, "transactions_refused_total", "", "Transactions of requests to this replica that were refused since the start, by reason.", []string{"reason"}, func(s *scrape, emit emit) {
		for r := range ledger.Reasons {
			if r := ledger.Reason(r); r != ledger.ReasonNone {
				emit(float64(s.engine.Refusals(r)), r.String())
			}
		}
	}),
	labelled(counter, "batches_known_total", "", "Batches of other lanes for which replicas vouch, since the start, by the way in which their signatures became known: checked by this replica, vouched for by f+1, by a certified header, or bad.", []string{"outcome"}, func(s *scrape, emit emit) {
		c := s.status.Signatures
		emit(float64(c.Checked), "checked")
		emit(float64(c.Vouched), "vouched")
		emit(float64(c.Header), "header")
		emit(float64(c.Bad), "bad")
	}),
	value(counter, "batches_sampled_total", "", "Executed batches that this replica checked in idle time since the start.", func(s *scrape) float64 { return float64(s.status.Signatures.Sampled) }),
	value(counter, "vouches_dropped_total", "", "Vouches that were not kept since the start: for batches that are not held, beyond the window or the replica's part.", func(s *scrape) float64 { return float64(s.status.Signatures.Dropped) }),
	value(gauge, "recent_latency_seconds", "seconds", "Median time from submission to the final receipt of this shard, of the last 5 s; 0 if there was none.", func(s *scrape) float64 { return s.engine.Latency().Seconds() }),

	durations("round_trip_duration_seconds", "Round trips of answered Pings to the engines of the shard, one a second to each.", func(s *scrape) *histogram.Histogram { return s.measures().RoundTrip }),
	labelled(gauge, "peer_answering", "", "1 if the engine of another replica of the shard answered in the last 3 s, else 0.", []string{"replica"}, func(s *scrape, emit emit) {
		s.peers(func(i protocols.Index, label string) { emit(truth(s.seen.Answers(i, s.seen.Now)), label) })
	}),
	labelled(gauge, "peer_silence_seconds", "seconds", "Time since the newest answered Ping of another replica of the shard; missing before the first answer.", []string{"replica"}, func(s *scrape, emit emit) {
		s.peers(func(i protocols.Index, label string) {
			if at := s.seen.Peers[i].Answered; at != 0 {
				emit(s.seen.Now.Sub(at).Seconds(), label)
			}
		})
	}),
	labelled(gauge, "peer_round_trip_seconds", "seconds", "Newest round trip of another replica of the shard; missing before the first answer.", []string{"replica"}, func(s *scrape, emit emit) {
		s.peers(func(i protocols.Index, label string) {
			if p := s.seen.Peers[i]; p.Answered != 0 {
				emit(p.RoundTrip.Seconds(), label)
			}
		})
	}),
	labelled(gauge, "peer_height", "", "Greatest height that another replica of the shard has shown.", []string{"replica"}, func(s *scrape, emit emit) {
		s.peers(func(i protocols.Index, label string) { emit(float64(s.engine.PeerHeight(i)), label) })
	}),
	labelled(counter, "peer_faults_total", "", "Faults of another replica of the shard that this one found since the start.", []string{"replica"}, func(s *scrape, emit emit) {
		s.peers(func(i protocols.Index, label string) { emit(float64(s.engine.FaultCount(i)), label) })
	}),
	value(counter, "evidence_total", "", "Proofs since the start that another shard broke the rules of settlement.", func(s *scrape) float64 { return float64(s.engine.Evidence()) }),

	frames("received_frames_total", "", "Frames received from replicas of the shard since the start.", func(c p2p.ClassStats) uint64 { return c.FramesIn }),
	frames("sent_frames_total", "", "Frames sent to replicas of the shard since the start.", func(c p2p.ClassStats) uint64 { return c.FramesOut }),
	frames("received_bytes_total", "bytes", "Bytes of frames received from replicas of the shard since the start.", func(c p2p.ClassStats) uint64 { return c.BytesIn }),
	frames("sent_bytes_total", "bytes", "Bytes of frames sent to replicas of the shard since the start.", func(c p2p.ClassStats) uint64 { return c.BytesOut }),
	frames("lost_frames_total", "", "Frames to replicas of the shard that an overflow of their queue dropped since the start; they are sent again.", func(c p2p.ClassStats) uint64 { return c.Lost }),
	value(counter, "sessions_total", "", "Sessions with replicas of the shard since the start.", func(s *scrape) float64 { return float64(s.stats.Sessions) }),
	value(counter, "banned_peers_total", "", "Bans of peers for violations of the protocol since the start.", func(s *scrape) float64 { return float64(s.stats.Dropped) }),
	value(counter, "refused_connections_total", "", "Refused connections and streams since the start: of peers that are no members, of other networks, of banned peers.", func(s *scrape) float64 { return float64(s.stats.Refused) }),
	value(counter, "requests_served_total", "", "Requests of replicas that were answered completely since the start.", func(s *scrape) float64 { return float64(s.stats.Served) }),
	value(counter, "requests_answered_total", "", "Requests to replicas with a complete answer since the start.", func(s *scrape) float64 { return float64(s.stats.Asked) }),
	labelled(counter, "gossip_messages_total", "", "Gossip messages since the start: published and received, received ones by verdict, and lost ones. Destinations fetch lost LDs by number.", []string{"outcome"}, func(s *scrape, emit emit) {
		g := s.stats.Gossip
		emit(float64(g.Out), "published")
		emit(float64(g.In), "received")
		emit(float64(g.Accepted), "accepted")
		emit(float64(g.Ignored), "ignored")
		emit(float64(g.Rejected), "rejected")
		emit(float64(g.Unsent+g.LostOut+g.LostIn), "lost")
	}),
	value(counter, "gossip_received_bytes_total", "bytes", "Bytes of received gossip since the start.", func(s *scrape) float64 { return float64(s.stats.Gossip.BytesIn) }),
	value(counter, "gossip_published_bytes_total", "bytes", "Bytes of published gossip since the start.", func(s *scrape) float64 { return float64(s.stats.Gossip.BytesOut) }),

	labelled(gauge, "queue_used", "", "Used places of a bounded queue, see the table of queues.", []string{"queue"}, func(s *scrape, emit emit) {
		s.queues(false, func(queue string, u use) { emit(float64(u.Used), queue) })
	}),
	labelled(gauge, "queue_limit", "", "Places of a bounded queue.", []string{"queue"}, func(s *scrape, emit emit) {
		s.queues(false, func(queue string, u use) { emit(float64(u.Limit), queue) })
	}),
	labelled(gauge, "queue_used_bytes", "bytes", "Used bytes of a bounded queue, see the table of queues.", []string{"queue"}, func(s *scrape, emit emit) {
		s.queues(true, func(queue string, u use) { emit(float64(u.Used), queue) })
	}),
	labelled(gauge, "queue_limit_bytes", "bytes", "Bytes of a bounded queue.", []string{"queue"}, func(s *scrape, emit emit) {
		s.queues(true, func(queue string, u use) { emit(float64(u.Limit), queue) })
	}),

	labelled(gauge, "disk_used_bytes", "bytes", "Size of the files of a store: kind is log or tables.", []string{"store", "kind"}, func(s *scrape, emit emit) {
		for _, store := range []string{consensusDir, ledgerDir} {
			emit(float64(s.disks[store].Log), store, "log")
			emit(float64(s.disks[store].Tables), store, "tables")
		}
	}),
	labelled(gauge, "disk_kind_bytes", "bytes", "Estimated size of one kind of records in the tables of a store, see the table of kinds; up to 30 s old.", []string{"store", "kind"}, func(s *scrape, emit emit) {
		for _, store := range []string{consensusDir, ledgerDir} {
			for _, k := range s.kinds[store] {
				emit(float64(k.Bytes), store, k.Name)
			}
		}
	}),
	labelled(gauge, "disk_free_bytes", "bytes", "Free bytes of the file system of the data directory; missing if it cannot be read.", nil, func(s *scrape, emit emit) {
		if free, _, ok := fileSystem(s.home.DataDir()); ok {
			emit(free)
		}
	}),
	labelled(gauge, "disk_size_bytes", "bytes", "Size of the file system of the data directory; missing if it cannot be read.", nil, func(s *scrape, emit emit) {
		if _, size, ok := fileSystem(s.home.DataDir()); ok {
			emit(size)
		}
	}),
	labelled(counter, "disk_syncs_total", "", "Waits for the disk since the start, by store.", []string{"store"}, func(s *scrape, emit emit) {
		emit(float64(s.consensus.Syncs()), consensusDir)
		emit(float64(s.ledgerKV.Syncs()), ledgerDir)
	}),
	value(counter, "log_lines_suppressed_total", "", "Log lines that the limiter left out since the start.", func(*scrape) float64 { return float64(loglimit.Suppressed()) }),
}

// frames makes a counter of frames by class.
func frames(name, unit, help string, of func(p2p.ClassStats) uint64) family {
	return labelled(counter, name, unit, help, []string{"class"}, func(s *scrape, emit emit) {
		emit(float64(of(s.stats.Control)), p2p.Control.String())
		emit(float64(of(s.stats.Bulk)), p2p.Bulk.String())
	})
}

func (s *scrape) measures() *engine.Measures { return s.engine.Measures() }

// use is the use of a bounded resource.
type use struct{ Used, Limit int64 }

// queue is a bounded queue, counted in places or in bytes.
type queue struct {
	name    string
	bytes   bool
	meaning string // for docs/metrics.md
	use     func(s *scrape) use
}

// queues calls do for each bounded queue that is counted in places, or for each that is counted in bytes.
func (s *scrape) queues(bytes bool, do func(queue string, u use)) {
	for _, q := range boundedQueues {
		if q.bytes == bytes {
			do(q.name, q.use(s))
		}
	}
}

var boundedQueues = []queue{
	{"inbound_control", false, "control frames of one peer that wait for the loop, in units of 64 KiB; the peer with most", func(s *scrape) use { return use(s.load.Control) }},
	{"inbound_bulk", false, "bulk frames of one peer that wait for the loop, in units of 64 KiB; the peer with most", func(s *scrape) use { return use(s.load.Bulk) }},
	{"inbound_lds", false, "LDs from outside the shard that wait for the loop", func(s *scrape) use { return use(s.load.LDs) }},
	{"writer", false, "steps that wait for the disk", func(s *scrape) use { return use(s.load.Writer) }},
	{"writer", true, "records of the steps that wait for the disk", func(s *scrape) use { return use(s.load.WriterBytes) }},
	{"executor", false, "committed blocks that wait for execution", func(s *scrape) use { return use(s.load.Executor) }},
	{"mempool", false, "transactions in the mempool", func(s *scrape) use { return use(s.load.Mempool) }},
	{"mempool", true, "encodings of the transactions in the mempool", func(s *scrape) use { return use(s.load.MempoolBytes) }},
	{"orphans", false, "transactions in the orphan pool", func(s *scrape) use { return use(s.load.Orphans) }},
	{"orphans", true, "encodings of the transactions in the orphan pool", func(s *scrape) use { return use(s.load.OrphanBytes) }},
	{"waits", false, "transactions that requests of clients wait for", func(s *scrape) use { return use(s.load.Waits) }},
	{"verifying", false, "requests whose signatures are being verified; those above the limit wait", func(s *scrape) use { return use(s.load.Verifying) }},
	{"outbound_control", true, "control frames that wait for one peer; the peer with most", func(s *scrape) use { return use(s.links.Control) }},
	{"outbound_bulk", true, "bulk frames that wait for one peer; the peer with most", func(s *scrape) use { return use(s.links.Bulk) }},
	{"requests_served", false, "requests of members in service, beyond the first of each", func(s *scrape) use { return use(s.links.Serving) }},
	{"requests_served", true, "requests in service and their answers, beyond 64 KiB of each member", func(s *scrape) use { return use(s.links.ServingBytes) }},
	{"requests_asked", false, "open requests to members, beyond the first of each", func(s *scrape) use { return use(s.links.Asking) }},
	{"requests_asked", true, "answers being read, beyond 64 KiB of each member", func(s *scrape) use { return use(s.links.AskingBytes) }},
	{"api_submissions", false, "submissions in progress or waiting", func(s *scrape) use { return use(s.served.Submissions) }},
	{"api_connections", false, "connections to the API", func(s *scrape) use { return use(s.served.Conns) }},
	{"api_bodies", true, "bodies that arrive and transactions that wait", func(s *scrape) use { return use(s.served.Bodies) }},
	{"api_answers", true, "large answers that clients are reading", func(s *scrape) use { return use(s.served.Answers) }},
}

// fileSystem returns the free and all bytes of the file system of a directory.
func fileSystem(dir string) (free, size float64, ok bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, false
	}
	return float64(st.Bavail) * float64(st.Bsize), float64(st.Blocks) * float64(st.Bsize), true
}
