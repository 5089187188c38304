package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/clients"
	"bdtnode/node/driver"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/coin"
)

// Setup has the needs of a replay besides the file: a replica on copies of the stores.
type Setup struct {
	Driver driver.Config // as it was recorded, but for Signer, Shares, Recorder and ObserveLatency
	Store  kv.Store      // consensus store; the replay writes to it
}

// Result describes a replay.
type Result struct {
	Header   *Header
	Steps    uint64        // repeated with equal results
	Duration time.Duration // from the first to the last reading of the clocks
	Height   uint64        // of the last executed block
	Digest   digest.Digest // of the results of all repeated steps
	End      string        // why the recording ended; empty if the file is cut
	Cut      error         // nil unless the file is cut
}

// Difference is the error of a step whose results differ from the recorded ones.
type Difference struct {
	Step uint64 // from 1
	What string // its input
	Why  string
}

// Error names the step.
func (d *Difference) Error() string {
	return fmt.Sprintf("step %d (%s) differs from the recording: %s. All %d steps before it are equal", d.Step, d.What, d.Why, d.Step-1)
}

// Replay repeats a recording from its file of inputs, on a driver that setup makes from the header, and calls show with
// each event. A *[Difference] is the error of the first step with other results. The replay also ends with the first error
// of show, and with ctx.
func Replay(ctx context.Context, file io.Reader, setup func(h *Header) (*Setup, error), show func(Event) error) (*Result, error) {
	in := &reader{r: file}
	h, err := in.open()
	if err != nil {
		return nil, err
	}
	s, err := setup(h)
	if err != nil {
		return nil, err
	}
	p := &replay{
		setup: s, show: show, result: Result{Header: h}, executed: make(map[uint64]*running), own: make(map[uint64]*clients.OwnBatch),
		requests: make(map[uint64]*admission.Request), retries: make(map[ledger.TxID]*ledger.Tx),
	}
	err = p.run(ctx, in)
	p.result.Digest = p.chain.last
	return &p.result, err
}

// replay is a replay in progress. It is the host of the driver and its recorder.
type replay struct {
	setup  *Setup
	driver *driver.Driver
	do     driver.Replay
	show   func(Event) error
	broken error // of show
	result Result

	entry    *entry            // in progress
	what     string            // its description
	message  protocols.Message // of a message
	admitted ledger.TxID       // of AdmissionAdmit
	began    protocols.Time
	at       protocols.Time // last reading
	chain    chain
	sum      *sum // of the entry's results

	deliveries []*bdt.Delivery // committed blocks that no entry has executed yet
	executed   map[uint64]*running
	own        map[uint64]*clients.OwnBatch // by number, until they are logged
	taken      []*ledger.Tx                 // by the last AdmissionTake
	requests   map[uint64]*admission.Request
	retries    map[ledger.TxID]*ledger.Tx
}

// running is an executed block that the core or the admission state has not been given yet.
type running struct {
	block *execution.Executed
	uses  int
}

func (p *replay) run(ctx context.Context, in *reader) error {
	d := &decoder{}
	for {
		if err := errors.Join(p.broken, ctx.Err()); err != nil {
			return err
		}
		if len(d.b) == 0 {
			content, err := in.block()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					p.result.Cut = err
				} else if p.result.End == "" {
					p.result.Cut = errors.New("the file has no end: the process ended before it was written")
				}
				return nil
			}
			d.b = content
		}
		x, err := readEntry(d, p.setup.Driver.Network, p.setup.Driver.Committee.Shard())
		if err != nil {
			return fmt.Errorf("entry after step %d: %w", p.result.Steps, err)
		}
		if x.kind == kindEnd {
			p.result.End = x.why
			p.emit(Event{What: "end", Text: x.why})
			continue
		}
		if err := p.step(x); err != nil {
			return err
		}
	}
}

// step repeats one entry and compares the results.
func (p *replay) step(x *entry) (err error) {
	p.entry, p.what, p.sum = x, "", nil
	p.result.Steps++ // taken back if the step differs
	defer func() {
		if r := recover(); r != nil {
			d, ok := r.(*Difference)
			switch {
			case x.kind == kindUnfinished && ok:
				p.emit(Event{What: "panic", Text: "the recorded core did not return from this input; " + d.Why})
			case x.kind == kindUnfinished:
				p.emit(Event{What: "panic", Text: fmt.Sprintf("%v\n%s", r, debug.Stack())})
			case ok:
				err = d
			default:
				err = p.differs("this program panics: %v\n%s", r, debug.Stack())
			}
		}
		if err != nil {
			p.result.Steps--
		}
	}()
	if p.driver == nil && x.kind != kindRestored {
		return errors.New("the first entry is not the restored replica")
	}
	p.read(x)
	if err := p.repeat(x); err != nil {
		return p.differs("%v", err)
	}
	switch {
	case x.kind == kindUnfinished:
		p.emit(Event{What: "panic", Text: "the recorded core did not return from this input; this program returns"})
	case p.sum == nil:
		return p.differs("it has no result")
	case *p.sum != x.sum:
		return p.differs("its results have the sum %x, recorded is %x", *p.sum, x.sum)
	case len(x.signed.signatures)+len(x.signed.shares) > 0:
		return p.differs("%d recorded signatures and %d shares were not made", len(x.signed.signatures), len(x.signed.shares))
	}
	return nil
}

// read notes the reading of the clocks of an entry.
func (p *replay) read(x *entry) {
	for _, at := range []admission.Reading{x.at, x.core.At, x.admission.At} {
		if at.Now != 0 {
			p.at = at.Now
		}
	}
	if p.began == 0 {
		p.began = p.at
	}
	p.result.Duration = max(p.result.Duration, p.at.Sub(p.began))
}

func (p *replay) differs(format string, args ...any) *Difference {
	return &Difference{Step: p.result.Steps, What: p.what, Why: fmt.Sprintf(format, args...)}
}

// repeat gives the input of an entry to the driver.
func (p *replay) repeat(x *entry) error {
	switch {
	case x.kind == kindRestored:
		p.what = "restore"
		return p.restore(x)
	case x.kind == kindBlock:
		return p.execute(x)
	case x.kind > kindAdmission && x.kind < kindRestored:
		return p.admission(x)
	}
	return p.core(x)
}

func (p *replay) restore(x *entry) error {
	if p.driver != nil {
		return errors.New("the replica is restored twice")
	}
	cfg := p.setup.Driver
	cfg.Signer, cfg.Shares = replaySigner{p, cfg.Committee.Key(cfg.Self)}, replayHolder{p}
	cfg.Store, cfg.Recorder, cfg.Limits, cfg.Begun = p.setup.Store, p, p.result.Header.Limits, p.result.Header.Begun
	var err error
	if p.driver, err = driver.New(cfg, host{p}); err != nil {
		return err
	}
	p.do = driver.Replay{D: p.driver}
	p.result.Height = cfg.State.Height()
	return nil
}

func (p *replay) execute(x *entry) error {
	p.what = fmt.Sprintf("execute block %d", x.height)
	if len(p.deliveries) == 0 {
		return errors.New("this program has delivered no block to execute")
	}
	next := p.deliveries[0]
	p.deliveries = p.deliveries[1:]
	if h := next.Block.Height; h != x.height {
		return fmt.Errorf("this program executes block %d", h)
	}
	done, err := p.do.Execute(next)
	if err == nil {
		p.executed[x.height] = &running{block: done, uses: 2}
		p.result.Height = x.height
	}
	return err
}

// use takes an executed block for the core or for the admission state.
func (p *replay) use(height uint64) (*execution.Executed, error) {
	r := p.executed[height]
	if r == nil {
		return nil, fmt.Errorf("this program has not executed block %d", height)
	}
	if r.uses--; r.uses == 0 {
		delete(p.executed, height)
	}
	return r.block, nil
}

func (p *replay) core(x *entry) error {
	in := x.core
	p.what = describeCore(x)
	switch in.Kind {
	case driver.CoreMessage:
		v, err := p.verified(in.Peer, x)
		if err != nil {
			return err
		}
		in.Message = v
	case driver.CoreExecuted:
		block, err := p.use(x.height)
		if err != nil {
			return err
		}
		in.Block = block
	case driver.CoreAppend:
		in.Entries.Txs, p.taken = p.taken, nil
	default:
	}
	return p.do.Core(in)
}

// verified is the input of a recorded message.
func (p *replay) verified(from protocols.Index, x *entry) (replica.Verified, error) {
	if p.message = nil; x.ahead != nil {
		return replica.NewAheadAt(from, *x.ahead), nil
	}
	m, err := replica.Decode(p.setup.Driver.Committee, x.message)
	if err != nil {
		return replica.Verified{}, fmt.Errorf("the message does not decode: %w", err)
	}
	p.message, p.what = m, fmt.Sprintf("message %T from replica %d", m, from)
	v, err := p.do.Message(from, m)
	if err == nil && v.IsZero() {
		err = errors.New("its content is dropped")
	}
	if err != nil {
		return v, fmt.Errorf("the message does not verify: %w", err)
	}
	return v, nil
}

func (p *replay) admission(x *entry) error {
	in := x.admission
	p.what = describeAdmission(x)
	switch in.Kind {
	case clients.AdmissionOpen:
		i := &x.info
		p.requests[x.request] = admission.NewRequest(i.From, i.IDs, i.Stage, i.Submits, i.Since, func() {})
		in.Request = p.requests[x.request]
	case clients.AdmissionClose, clients.AdmissionAnswer, clients.AdmissionAdmit:
		if in.Request = p.requests[x.request]; in.Request == nil {
			return fmt.Errorf("request %d is not open", x.request)
		}
		if in.Kind == clients.AdmissionClose {
			delete(p.requests, x.request)
		}
	case clients.AdmissionLogged:
		if in.Own = p.own[x.number]; in.Own == nil {
			return fmt.Errorf("this program has made no batch %d", x.number)
		}
		delete(p.own, x.number)
	case clients.AdmissionExecuted:
		block, err := p.use(x.height)
		if err != nil {
			return err
		}
		in.Block = block
	case clients.AdmissionRetry:
		if in.Retried = p.retries[x.id]; in.Retried == nil {
			return fmt.Errorf("transaction %s is not due", x.id)
		}
		delete(p.retries, x.id)
	default:
	}
	if in.Kind == clients.AdmissionAdmit {
		tx, err := ledger.VerifyTx(p.setup.Driver.Scheme, p.setup.Driver.Committee.Network(), x.tx)
		if err != nil {
			return fmt.Errorf("the transaction does not verify: %w", err)
		}
		in.Verified, p.admitted = tx, tx.Tx().ID()
	}
	p.do.Admission(in)
	return nil
}

// Restored implements [driver.Recorder].
func (p *replay) Restored(_ admission.Reading, c clients.AdmissionCounts) {
	p.results(func(e *encoder) { appendCounts(e, c) })
	p.emit(Event{What: "restored", Text: fmt.Sprintf("executed height %d, %d accepted transactions wait", p.setup.Driver.State.Height(), c.Mempool)})
}

// results computes the sum of the entry in progress.
func (p *replay) results(fill func(e *encoder)) {
	if p.sum != nil {
		panic(p.differs("it has two results"))
	}
	s := p.chain.next(p.entry.input, fill)
	p.sum = &s
}

// Begin implements [driver.Recorder].
func (p *replay) Begin(driver.CoreInput) { p.emitInput(p.entry) }

// Core implements [driver.Recorder].
func (p *replay) Core(_ driver.CoreInput, st *replica.Step) {
	p.results(func(e *encoder) { appendStep(e, st) })
	p.emitStep(st)
}

// Admission implements [driver.Recorder].
func (p *replay) Admission(in *clients.AdmissionInput, r *clients.AdmissionResult) {
	p.results(func(e *encoder) { appendResult(e, in, r) })
	switch in.Kind {
	case clients.AdmissionTake:
		p.taken = r.Txs
	case clients.AdmissionDue:
		for _, tx := range r.Due {
			p.retries[tx.ID()] = tx
		}
	default:
	}
	p.emitAdmission(p.entry, r)
}

// Block implements [driver.Recorder].
func (p *replay) Block(x *execution.Executed) {
	p.results(func(e *encoder) { appendBlock(e, x.Block) })
	p.emitBlock(x)
}

// replaySigner returns the recorded signatures in order. Each must verify for the message that this program signs.
type replaySigner struct {
	p   *replay
	key sig.PublicKey
}

func (s replaySigner) Public() sig.PublicKey { return s.key }

func (s replaySigner) Sign(message []byte) sig.Signature {
	p, list := s.p, &s.p.entry.signed.signatures
	if len(*list) == 0 {
		panic(p.differs("this program signs something that was not signed"))
	}
	x := (*list)[0]
	*list = (*list)[1:]
	if !p.setup.Driver.Scheme.Verify(sig.Check{Key: s.key, Message: message, Signature: x}) {
		panic(p.differs("this program signs another statement than the one that was signed"))
	}
	return x
}

// replayHolder returns the recorded shares of the coin in order. Each must verify for the toss that this program names.
type replayHolder struct{ p *replay }

func (h replayHolder) Share(statement []byte) coin.Share {
	p, list := h.p, &h.p.entry.signed.shares
	if len(*list) == 0 {
		panic(p.differs("this program releases a share of the coin that was not released"))
	}
	x := (*list)[0]
	*list = (*list)[1:]
	if !p.setup.Driver.Coin.Verify(p.setup.Driver.Self, statement, x) {
		panic(p.differs("this program releases a share of another toss of the coin than the one that was released"))
	}
	return x
}
