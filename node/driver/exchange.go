package driver

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"bdtnode/node/clients"
	"bdtnode/node/execution"
	"bdtnode/node/intake"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/shard/settlement"
	"bdtnode/shard/xshard"
)

// Bounds of the answers to replicas of other shards, and of the answers from them.
const (
	maxServed  = 4 << 20 // bytes of LDs, beyond which no further LD is added
	MaxFetched = 8 << 20 // bytes of LDs accepted of one answer
)

// Never is a wait without an end.
const Never = time.Duration(math.MaxInt64)

// maxInService bounds the requests of one replica that are in service, by kind. An honest replica has at most one fetch
// open, and one question for the position to each shard; the further places are for requests that were given up and have
// not ended yet.
var maxInService = map[xshard.Kind]int{xshard.Fetch: 2, xshard.Position: 8, xshard.Give: 8, xshard.Pull: 2}

// Peer is a replica of any shard.
type Peer struct {
	Shard   uint16
	Replica protocols.Index
}

// Publication is an LD to be published on the topic of its destination.
type Publication struct {
	Destination uint16
	LD          *settlement.LD
}

// Exchange is the replica's part in the exchange of LDs with other shards: it decides which LDs it publishes, gives and
// asks for, and serves those of other shards. The host carries the requests.
type Exchange struct {
	cfg      *Config
	host     Host
	ledger   execution.Ledger
	clients  *clients.Clients
	intake   *intake.Intake
	lds      *lds
	arriving arriving
	next     nextLDs

	mu      sync.Mutex
	machine *xshard.Machine
	serving map[service]int // requests in service

	certificates certificates
}

// keptCertificates is the number of certificates in memory. Older ones are in the store.
const keptCertificates = 64

// certificates are the newest certificates of headers, which may not be in the store yet. The zero value has none. It may be
// used concurrently.
type certificates struct {
	mu sync.Mutex
	by [keptCertificates]*certify.Certified // by height, modulo its length
}

func (k *certificates) put(c *certify.Certified) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.by[c.Height%keptCertificates] = c
}

// get is the certificate of a height's header, nil if it is not here.
func (k *certificates) get(height uint64) *certify.Certified {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.by[height%keptCertificates]; c != nil && c.Height == height {
		return c
	}
	return nil
}

// service is the requests of one kind by one replica.
type service struct {
	peer Peer
	kind xshard.Kind
}

func newExchange(cfg *Config, host Host, c *clients.Clients, in *intake.Intake, v *lds, next nextLDs) *Exchange {
	committees := make([]*protocols.Committee, cfg.Network.Shards())
	for s := range committees {
		committees[s] = cfg.Network.Committee(uint16(s))
	}
	now, _ := host.Clock()
	of := xshard.Config{Shard: cfg.Committee.Shard(), Self: cfg.Self, Committees: committees, Next: next.get}
	return &Exchange{
		cfg: cfg, host: host, ledger: cfg.ledger(), clients: c, intake: in, lds: v, next: next,
		machine: xshard.New(of, now), serving: make(map[service]int),
	}
}

// time is the present time by the clock that deadlines are measured by.
func (x *Exchange) time() protocols.Time {
	now, _ := x.host.Clock()
	return now
}

// Publish lists the LDs that have become certified and that it is this replica's turn to publish. The host calls it at the
// start and after [Host.Publish]. The error is the store's.
func (x *Exchange) Publish() ([]Publication, error) {
	var out []Publication
	for peer := range uint16(x.cfg.Network.Shards()) {
		// One key at a time: a scan of all channels passes each value that a channel had since the store was flushed.
		c, err := x.ledger.Channel(peer)
		if err != nil {
			return nil, err
		}
		if c.Sent == 0 {
			continue
		}
		x.mu.Lock()
		known := max(x.machine.Known(c.Peer), c.Acked)
		x.mu.Unlock()
		fresh := make(map[uint64]*settlement.LD)
		number := known
		for ; number < c.Sent; number++ {
			ld, err := x.ld(c.Peer, number+1)
			if err != nil {
				return nil, err
			}
			if ld == nil {
				break
			}
			fresh[number+1] = ld
		}
		x.mu.Lock()
		st := x.machine.Certified(x.time(), c.Peer, c.Acked, number)
		x.mu.Unlock()
		for _, p := range st.Publish {
			if ld := fresh[p.Number]; ld != nil {
				out = append(out, Publication{p.Destination, ld})
			}
		}
	}
	return out, nil
}

// ld reads an LD for another shard, or nil if it is not certified yet or was shown applied.
func (x *Exchange) ld(destination uint16, number uint64) (*settlement.LD, error) {
	return replica.OutgoingLD(x.ledger, destination, number, x.certificate)
}

// certificate is the certificate of a height's header, nil if there is none yet. The error is the store's.
func (x *Exchange) certificate(height uint64) (*certify.Certified, error) {
	if c := x.certificates.get(height); c != nil {
		return c, nil
	}
	if height > x.clients.CertifiedHeight() {
		return nil, nil
	}
	return replica.Certificate(x.cfg.Store, height)
}

// Tick lists the requests that are due, and how long the host waits at most before the next call, [Never] if no time is
// set. Every other method but Serve, Enter and Leave may bring the next call forward: the host calls Tick after them.
func (x *Exchange) Tick() (asks []xshard.Request, wait time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.time()
	asks = x.machine.Tick(now).Requests
	next := x.machine.Wake()
	if next == 0 {
		return asks, Never
	}
	return asks, max(0, next.Sub(now))
}

// Given is the LD that a request of kind [xshard.Give] gives to its receiver, or nil if it was shown applied in the
// meantime. The error is the store's.
func (x *Exchange) Given(a xshard.Request) (*settlement.LD, error) { return x.ld(a.Shard, a.Number) }

// Answered takes the end of a request for CLs, or the answer to a request for the position: the number of the first LD that the replica lacks, or the
// failure of the request. It returns requests that follow from it.
func (x *Exchange) Answered(a xshard.Request, next uint64, ok bool) []xshard.Request {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.machine.Answered(x.time(), a, next, ok).Requests
}

// Fetched takes the end of a request for LDs: how many were taken in, and whether the request failed.
func (x *Exchange) Fetched(a xshard.Request, count int, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.machine.Fetched(x.time(), a, count, ok)
}

// Take takes an LD from a replica of its source. An error is the fault of that replica. It blocks while the loop has many LDs.
func (x *Exchange) Take(ld *settlement.LD) error { return x.seen(ld, x.offer(ld)) }

func (x *Exchange) offer(ld *settlement.LD) error {
	m, err := fromOutside(x.cfg.Network, ld)
	if err != nil {
		return err
	}
	if m.Number < x.next.get(m.Source) && x.lds.verified.Has(m.Encoding()) {
		return nil // it is held; a verified LD may have been too far ahead when it first came
	}
	v, err := x.intake.Verify(x.cfg.Self, m)
	if !v.IsZero() {
		x.host.Inbound(v)
	}
	return err
}

// ErrHeld is the result of [Exchange.TakeGossip] for a copy of an LD that this replica has.
var ErrHeld = errors.New("a copy of an LD that is held or on its way to the loop")

// TakeGossip takes an LD from gossip. The error is [ErrHeld] for a copy of an LD that is held, or on its way to the loop: the
// copy is dropped unverified, also with another certificate, and must not be passed on. Any other error is the fault of the peer
// that passed the LD on. It blocks while the loop has many LDs.
func (x *Exchange) TakeGossip(ld *settlement.LD) error {
	m, err := fromOutside(x.cfg.Network, ld)
	if err != nil {
		return err
	}
	if !x.arriving.begin(m.Digest) {
		return ErrHeld
	}
	if m.Number < x.next.get(m.Source) && x.lds.contents.Has(m.Digest) { // a verified LD may have been too far ahead when it first came
		x.arriving.end(m.Digest, false)
		return ErrHeld
	}
	v, err := x.intake.Verify(x.cfg.Self, m)
	x.arriving.end(m.Digest, !v.IsZero())
	if !v.IsZero() {
		x.host.Inbound(v)
	}
	return x.seen(ld, err)
}

// seen notes an LD that was taken without an error.
func (x *Exchange) seen(ld *settlement.LD, err error) error {
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.machine.Seen(x.time(), ld.Delivery.Source, ld.Delivery.Number)
	return nil
}

// Enter begins the service of a request. An error says that the peer has as many in service as it may. Each Enter without
// an error is followed by a [Exchange.Leave].
func (x *Exchange) Enter(peer Peer, kind xshard.Kind) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := service{peer, kind}
	if x.serving[s] >= maxInService[kind] {
		return fmt.Errorf("%d requests of this kind are in service, the most for one replica", x.serving[s])
	}
	x.serving[s]++
	return nil
}

// Leave ends the service of a request.
func (x *Exchange) Leave(peer Peer, kind xshard.Kind) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := service{peer, kind}
	if x.serving[s]--; x.serving[s] == 0 {
		delete(x.serving, s)
	}
}

// Serve calls each with the LDs for a shard from a number on, until the sizes that each returns come to 4 MiB. The sizes are
// those of whole encodings: header and certificate of a small LD have more bytes than its delivery. The error is the
// store's or that of each.
func (x *Exchange) Serve(destination uint16, number uint64, each func(ld *settlement.LD) (size int, err error)) error {
	for size := 0; size < maxServed; number++ {
		ld, err := x.ld(destination, number)
		if err != nil || ld == nil {
			return err
		}
		n, err := each(ld)
		if err != nil {
			return err
		}
		size += n
	}
	return nil
}

// Position is the number of the first LD of a source shard that this replica lacks, for a replica of that shard.
func (x *Exchange) Position(source uint16) uint64 { return x.next.get(source) }

// Receive takes an LD that a replica of its source gives, and returns the number of the first LD that this replica lacks
// after it.
func (x *Exchange) Receive(source uint16, ld *settlement.LD) (next uint64, err error) {
	if ld.Delivery.Source != source {
		return 0, fmt.Errorf("shard %d gives an LD of shard %d", source, ld.Delivery.Source)
	}
	if err := x.Take(ld); err != nil {
		return 0, err
	}
	return max(x.next.get(source), ld.Delivery.Number+1), nil
}
