// Package node runs one replica as a process. It connects its stores, network, engine and client API.
package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	golog "github.com/ipfs/go-log/v2"
	"github.com/prometheus/client_golang/prometheus"

	"bdtnode/internal/fairshare"
	"bdtnode/internal/histogram"
	"bdtnode/internal/kv"
	"bdtnode/internal/wan"
	"bdtnode/ledger"
	"bdtnode/ledger/paylog"
	"bdtnode/node/admin"
	"bdtnode/node/admission"
	"bdtnode/node/api"
	"bdtnode/node/config"
	"bdtnode/node/driver"
	"bdtnode/node/engine"
	"bdtnode/node/events"
	"bdtnode/node/execution"
	"bdtnode/node/foreign"
	"bdtnode/node/loglimit"
	"bdtnode/node/logread"
	"bdtnode/node/logring"
	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/node/supervise"
	"bdtnode/node/xshardnet"
	"bdtnode/protocols"
	"bdtnode/shard"
	"bdtnode/shard/settlement"
)

var logger = golog.Logger("bdt/node")

// outside writes log lines that other parties can cause, so their number is bounded.
var outside = loglimit.New(logger)

// Names of the directories of the two stores in the data directory of a home, and of the file with the last known
// addresses of peers.
const (
	consensusDir = "consensus"
	ledgerDir    = "ledger"
	addressFile  = "peers.json"
)

// ledgerCache is the size of the memory cache for tables of the ledger store, in bytes. Transactions read outputs at
// random; with a small cache, a third of the processor time went into reading blocks again.
const ledgerCache = 128 << 20

// largeValue is the size in bytes from which on a value of the consensus store is in a file of values. Almost all such values
// are batches, which are never deleted.
const largeValue = 4 << 10

// maxServing is the number of requests of one peer that are served at a time. A request of a replica of another shard
// stays open while it waits for the outcome of forwarded transactions.
const maxServing = 96

// maxAwaits is the number of requests of clients that wait at a time for outputs in one other shard. They share calls.
const maxAwaits = 4096

// Node is one replica. Create it with [Open] and run it with [Node.Run].
type Node struct {
	home      *config.Home
	committee *protocols.Committee
	consensus *kv.Pebble
	ledgerKV  *kv.Window
	chain     execution.Ledger // one of the next two
	state     *ledger.State    // payments; nil if the shard orders opaque payloads
	log       *paylog.Log      // opaque payloads; nil if the shard settles payments
	network   *settlement.Network
	engine    *engine.Engine
	xshard    *xshardnet.Service
	peers     *xshardnet.Client // of other shards
	foreign   *foreign.Reader
	proofs    proofs
	calls     []*fairshare.Places[admission.Party] // to each shard, for clients: a call may wait for a minute
	awaits    []*fairshare.Places[admission.Party] // of outputs in each shard, for clients
	net       *p2p.Net
	events    *events.Events
	reader    *logread.Reader // nil if the shard settles payments
	api       *api.Server
	admin     *admin.Server
	logs      *logring.Ring
	detach    func() // ends the copying of log lines to logs
	recording recording
	version   string
	started   time.Time

	rate       rate
	fullness   fullness
	others     otherReports
	tracer     *tracer
	registry   *prometheus.Registry
	kinds      kindEstimate
	settlement *histogram.Histogram // from the request to the outputs in all shards
}

// Open opens the stores of a home and restores the replica from them. It starts no goroutine of the replica. Run closes
// the stores.
func Open(home *config.Home) (_ *Node, err error) {
	n := &Node{home: home, version: Version(), started: time.Now(), logs: logring.New(logring.DefaultBytes), settlement: histogram.Durations(), tracer: newTracer()}
	n.detach = n.logs.Attach()
	n.registry = newRegistry(n)
	defer func() {
		if err != nil {
			n.detach()
			n.recording.end(err)
			err = errors.Join(err, n.closeStores())
		}
	}()
	g := home.Genesis
	files, err := ownDescriptors(g)
	if err != nil {
		return nil, err
	}
	if n.committee, err = g.Committee(home.Shard); err != nil {
		return nil, err
	}
	if n.network, err = settlement.NewNetwork(g); err != nil {
		return nil, err
	}
	n.recording.prepare(n)
	begun, err := n.openStores(files)
	if err != nil {
		return nil, err
	}
	if n.net, err = n.newNet(files); err != nil {
		return nil, err
	}
	if n.engine, err = n.newEngine(begun); err != nil {
		return nil, err
	}
	n.xshard, n.peers = xshardnet.New(n.engine, n.net), xshardnet.NewClient(n.net)
	committees := make([]*protocols.Committee, len(g.Shards))
	for s := range committees {
		committees[s] = n.network.Committee(uint16(s))
		n.calls = append(n.calls, fairshare.NewPlaces[admission.Party](maxServing, 1))
		n.awaits = append(n.awaits, fairshare.NewPlaces[admission.Party](maxAwaits, 1))
	}
	n.foreign = foreign.NewReader(home.Replica, committees, n.peers)
	if n.proofs, err = newProofs(n); err != nil {
		return nil, err
	}
	n.events = events.New(events.Config{Shard: home.Shard, Ledger: n.eventSource(), Home: g.Home, Commits: n.commits})
	n.reader = n.newLogReader()
	n.api = api.New(api.Config{
		Version: n.version, Log: n.logBackend(), Metrics: n.metrics(), MaxConns: files.clients, Hosts: home.Config.APIHosts(), Origins: home.Config.API.Origins,
	}, backend{n})
	n.admin = admin.New(inspector{n}, n.logs)
	return n, nil
}

// openStores opens the two stores and the ledger. In between it decides from the consensus store whether the replica may
// start.
func (n *Node) openStores(files descriptors) (*replica.Begun, error) {
	var err error
	data := n.home.DataDir()
	batches := kv.Options{OpenFiles: files.store, LargeValues: largeValue, NoCompression: true}
	if n.consensus, err = kv.OpenPebble(filepath.Join(data, consensusDir), batches); err != nil {
		return nil, fmt.Errorf("consensus store: %w", err)
	}
	begun, err := begin(n.home, n.committee, n.consensus)
	if err != nil {
		return nil, err
	}
	options, window := kv.Options{CacheBytes: ledgerCache, OpenFiles: files.store}, kv.WindowOptions{Before: syncing(n.consensus)}
	if !n.ordersPayloads() {
		window.Groups = ledger.KeyGroups()
	}
	if n.ledgerKV, err = kv.OpenWindow(filepath.Join(data, ledgerDir), options, window); err != nil {
		return nil, fmt.Errorf("ledger store: %w", err)
	}
	if n.ordersPayloads() {
		n.log, err = paylog.Open(n.ledgerKV, driver.LogConfigOf(n.home.Genesis, n.home.Shard))
		n.chain = n.log
		return begun, err
	}
	cfg := driver.LedgerConfigOf(n.home.Genesis, n.home.Shard)
	cfg.CachedOutputs = n.home.Config.Ledger.CachedOutputs
	n.state, err = ledger.Open(n.ledgerKV, cfg)
	n.chain = n.state
	return begun, err
}

// syncing returns a function that makes all batches of a store durable. A ledger's store calls it before its own changes become
// durable, so the ledger on disk never has a block that the consensus store on disk lacks.
func syncing(consensus kv.Store) func() error {
	return func() error {
		if err := consensus.Apply(&kv.Batch{}, true); err != nil {
			return fmt.Errorf("sync the consensus store before the ledger's: %w", err)
		}
		return nil
	}
}

// ordersPayloads reports whether the shard orders opaque payloads in place of payments.
func (n *Node) ordersPayloads() bool { return n.home.Genesis.Parameters.Ledger == shard.LedgerLog }

// newEngine restores the replica from its stores.
func (n *Node) newEngine(begun *replica.Begun) (*engine.Engine, error) {
	cfg, err := driver.ConfigOf(n.home.Genesis, n.home.Shard, n.home.Replica)
	if err != nil {
		return nil, err
	}
	cfg.Committee, cfg.Network, cfg.Signer, cfg.Shares = n.committee, n.network, n.home.ConsensusKey, n.home.Coin
	cfg.State, cfg.Ledger, cfg.Begun = n.state, n.chain, begun
	n.recording.begin(n, &cfg, begun)
	return engine.New(engine.Config{Config: cfg, Store: n.consensus, Net: n.net})
}

// newNet configures the replica's connections to all other replicas.
func (n *Node) newNet(files descriptors) (*p2p.Net, error) {
	g, settings := n.home.Genesis, n.home.Config.P2P
	members := make([][]string, len(g.Shards))
	for s, spec := range g.Shards {
		for _, m := range spec.Members {
			members[s] = append(members[s], m.Peer)
		}
	}
	delays, err := wan.Parse(settings.WAN)
	if err != nil {
		return nil, err
	}
	return p2p.New(p2p.Config{
		Identity: n.home.PeerKey, Network: g.ID(), Shard: n.home.Shard, Self: n.home.Replica, Members: members,
		Listen: settings.Listen, Announce: settings.Announce, Bootstrap: settings.Bootstrap,
		AddressFile: filepath.Join(n.home.DataDir(), addressFile), QUIC: settings.QUIC, WAN: delays, Metrics: n.registry,
		Limits: p2p.Limits{Serving: maxServing, Strangers: files.strangers, ConnsPerMember: files.memberConns},
	})
}

// Run runs the replica until ctx ends, which is not an error, or until a part fails and must stop the replica. It
// publishes the listen addresses through the home, and closes the stores.
func (n *Node) Run(ctx context.Context) (err error) {
	defer n.detach()
	defer func() {
		n.recording.end(err)
		err = errors.Join(err, n.closeStores())
	}()
	listener, err := net.Listen("tcp", n.home.Config.API.Address)
	if err != nil {
		return fmt.Errorf("the client API cannot listen on %s (setting %s): %w", n.home.Config.API.Address, config.KeyAPIAddress, err)
	}
	adminListener, err := admin.Listen(n.home.Dir)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	g := supervise.New(ctx)
	frames := handler{n.engine, n.xshard, xshardnet.NewServer(n.xshard, n.answerCall)}
	g.Go("network", func(ctx context.Context) error { return n.net.Run(ctx, frames) })
	g.Go("recording", n.recording.run)
	g.Go("consensus", n.engine.Run)
	g.Go("xshard", n.xshard.Run)
	g.Go("client API", func(ctx context.Context) error { return n.api.Run(ctx, listener) })
	g.Go("administration", func(ctx context.Context) error { return n.admin.Run(ctx, adminListener) })
	g.Go("state roots", n.chain.States().Run)
	g.Go("stores", n.watchStores)
	g.Go("health", n.watchHealth)
	g.Go("start", func(ctx context.Context) error {
		select {
		case <-n.net.Started():
		case <-ctx.Done():
			return nil
		}
		at := "http://" + listener.Addr().String()
		logger.Infow("started", "version", n.version, "network", n.committee.Network().String(), "name", n.home.Genesis.Name,
			"consensus", n.home.Genesis.Consensus, "shard", n.home.Shard, "replica", n.home.Replica, "peer", n.net.PeerID(),
			"boot", n.engine.Standing().Boot, "height", n.chain.Height(), "api", at, "p2p", n.net.Addrs())
		return n.home.Publish(n.net.Addrs(), at)
	})
	err = g.Wait()
	if err != nil {
		logger.Errorw("stopped", "error", err, "uptime", time.Since(n.started).Round(time.Millisecond).String(), "height", n.chain.Height())
	} else {
		logger.Infow("stopped", "reason", "requested", "uptime", time.Since(n.started).Round(time.Millisecond).String(), "height", n.chain.Height())
	}
	return err
}

// watchStores stops the node at the first failure of a disk, also while nothing is written.
func (n *Node) watchStores(ctx context.Context) error {
	select {
	case <-n.consensus.Failed():
		return errors.New("the consensus store failed: the replica stops signing")
	case <-n.ledgerKV.Failed():
		return errors.New("the ledger store failed: the replica stops executing blocks")
	case <-ctx.Done():
		return nil
	}
}

func (n *Node) closeStores() error {
	var errs []error
	if n.ledgerKV != nil {
		errs = append(errs, n.ledgerKV.Close())
	}
	if n.consensus != nil {
		errs = append(errs, n.consensus.Close())
	}
	n.ledgerKV, n.consensus = nil, nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close stores: %w", err)
	}
	return nil
}
