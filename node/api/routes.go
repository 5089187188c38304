package api

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"bdtnode/ledger"
)

// retryAudit is the time after which a client may ask again if another audit was running.
const retryAudit = 2 * time.Second

type (
	none struct{}

	networkIn struct {
		Others bool `query:"others" default:"true" doc:"also the reports of other replicas, which are asked at most once a second"`
	}

	txIn struct {
		ID string `path:"id" doc:"transaction id, 64 hexadecimal characters"`
	}
	traceIn struct {
		ID     string `path:"id" doc:"transaction id, 64 hexadecimal characters"`
		Others bool   `query:"others" default:"true" doc:"also the steps at the other replicas of the shards of the transaction"`
	}
	accountIn struct {
		Address string `path:"address" doc:"64 hexadecimal characters"`
		Cursor  string `query:"cursor" maxLength:"256" doc:"'next' from the page of outputs before"`
		Limit   int    `query:"limit" minimum:"0" maximum:"1000" default:"100" doc:"largest number of outputs to list"`
		Older   string `query:"older" maxLength:"256" doc:"'older' from the page of history before"`
		History int    `query:"history" minimum:"0" maximum:"1000" default:"0" doc:"largest number of history entries to list"`
	}
	blockIn struct {
		// The maximum must be declared: the library would truncate a larger number to 16 bits.
		Shard  uint16 `path:"shard" maximum:"65535"`
		Height uint64 `path:"height"`
	}

	// body is an answer with status 200 and v in JSON.
	body[T any] struct{ Body T }

	liveness struct {
		Live bool `json:"live"`
	}
)

// register adds every route of the API.
func (s *Server) register(a huma.API) {
	route(s, a, huma.Operation{
		Method: http.MethodPost, Path: "/v1/txs", OperationID: "submit-transactions",
		Summary:     "Submit transactions and wait for a stage",
		Description: "Submitting a transaction again has no further effect and gets the same answer. Accepted means that a final answer will come; waiting guarantees nothing. 429 means that no transaction was accepted: the mempool is full, or the share of it or of waits that this client address may have.",
		Errors:      []int{400, 413, 415, 422, 429, 503},
	}, ledgerOnly(s, LedgerPayments, s.submit))
	// Described here and not with the operation, because then the library would read and check the body.
	post := a.OpenAPI().Paths["/v1/txs"].Post
	post.RequestBody = submitBody()
	post.Responses["200"].Content = map[string]*huma.MediaType{
		"application/json": {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[SubmitAnswer](), true, "")},
	}
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/v1/txs/{id}", OperationID: "get-transaction",
		Summary: "State of a transaction", Errors: []int{404, 422, 503},
	}, ledgerOnly(s, LedgerPayments, s.tx))
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/v1/txs/{id}/trace", OperationID: "trace-transaction",
		Summary:     "Steps of a transaction at every replica of its shards, with times",
		Description: "Times are by the clock of the replica of the step, and are kept in memory for the newest batches, blocks and LDs. The steps of a replica are a statement of that replica.",
		Errors:      []int{404, 422, 503},
	}, ledgerOnly(s, LedgerPayments, s.trace))
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/v1/txs/{id}/proof", OperationID: "get-proof",
		Summary:     "Proof of a transaction's result in all shards that it involves",
		Description: "The proof is checked with the genesis alone. 404 means that there is none: the transaction is unknown, has no final result yet, or was refused without a block. 503 means that a shard's part is missing for now.",
		Errors:      []int{404, 422, 503},
	}, ledgerOnly(s, LedgerPayments, s.proof))
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/v1/accounts/{address}", OperationID: "get-account",
		Summary: "Balance, outputs and history of an address", Errors: []int{404, 422, 503},
	}, ledgerOnly(s, LedgerPayments, s.account))
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/v1/shards/{shard}/blocks/{height}", OperationID: "get-block",
		Summary: "A committed block", Errors: []int{404, 422, 503},
	}, s.block)
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/v1/status", OperationID: "get-status", Summary: "Status of this replica",
	}, func(context.Context, *none) (*body[Status], error) { return &body[Status]{s.backend.Status()}, nil })
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/v1/network", OperationID: "get-network",
		Summary:     "Reports of this replica and of others about themselves and their shards",
		Description: "Each report is a statement of the replica that made it.", Errors: []int{422},
	}, func(ctx context.Context, in *networkIn) (*body[NetworkReports], error) {
		r := s.backend.Network(ctx, in.Others)
		r.Shards, r.Reports, r.Failed = nonNil(r.Shards), nonNil(r.Reports), nonNil(r.Failed)
		return &body[NetworkReports]{r}, nil
	})
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/v1/peers", OperationID: "get-peers",
		Summary: "State of every replica as this one sees it",
	}, func(context.Context, *none) (*body[PeerList], error) {
		return &body[PeerList]{PeerList{Peers: nonNil(s.backend.Peers())}}, nil
	})
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/v1/events", OperationID: "get-events",
		Summary:     "Stream of events of this replica's shard",
		Description: "Server-sent events. Each has a cursor as its id, with which a later stream continues, at any replica of the shard. An event of kind gap names events that the replica does not have. An event of kind end is the last one, with the reason.",
		Errors:      []int{422, 503},
	}, s.events)
	a.OpenAPI().Paths["/v1/events"].Get.Responses["200"].Content = map[string]*huma.MediaType{
		EventsType: {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Event](), true, "")},
	}
	s.registerLog(a)
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/v1/audit", OperationID: "audit",
		Summary: "Count the whole value that this replica holds, output by output", Errors: []int{503},
	}, ledgerOnly(s, LedgerPayments, s.audit))
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/livez", OperationID: "livez", Summary: "Liveness: the process answers",
	}, func(context.Context, *none) (*body[liveness], error) {
		return &body[liveness]{liveness{Live: true}}, nil
	})
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/readyz", OperationID: "readyz",
		Summary: "Readiness: this replica takes part in consensus", Errors: []int{503},
	}, s.ready)
}

// route registers a handler with common error handling: a panic stops the node, errors become problems.
func route[I, O any](s *Server, a huma.API, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	huma.Register(a, op, func(ctx context.Context, in *I) (out *O, err error) {
		defer s.stopOnPanic(&err)
		if out, err = h(ctx, in); err != nil {
			return nil, asProblem(ctx, op.OperationID, err)
		}
		return out, nil
	})
}

// asProblem converts an error of the backend to a problem with a status. Internal errors are logged, and their text is
// not sent to the client.
func asProblem(ctx context.Context, op string, err error) error {
	var se huma.StatusError
	switch {
	case errors.As(err, &se):
		return err
	case errors.Is(err, ErrNotFound):
		return problem(http.StatusNotFound, err.Error())
	case errors.Is(err, ErrBadCursor), errors.Is(err, ErrBadQuery):
		return problem(http.StatusUnprocessableEntity, err.Error())
	case errors.Is(err, ErrUnavailable), ctx.Err() != nil:
		return retryLater(problem(http.StatusServiceUnavailable, err.Error()), retryBusy)
	}
	outside.Errorw("request failed", op, "operation", op, "error", err)
	return problem(http.StatusInternalServerError, "the replica failed to answer, see its log")
}

func (s *Server) tx(ctx context.Context, in *txIn) (*body[TxAnswer], error) {
	id, err := ledger.ParseTxID(in.ID)
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, err.Error())
	}
	a, err := s.backend.Tx(ctx, id)
	if err == nil && a.State == StateUnknown {
		err = ErrNotFound
	}
	if errors.Is(err, ErrNotFound) {
		detail := "this replica does not know transaction " + in.ID
		if gone := (*ledger.Pruned)(nil); errors.As(err, &gone) {
			detail += "; its receipts are " + gone.Error()
		}
		return nil, problem(http.StatusNotFound, detail)
	}
	return &body[TxAnswer]{a}, err
}

func (s *Server) trace(ctx context.Context, in *traceIn) (*body[Trace], error) {
	id, err := ledger.ParseTxID(in.ID)
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, err.Error())
	}
	t, err := s.backend.Trace(ctx, id, in.Others)
	if errors.Is(err, ErrNotFound) {
		return nil, problem(http.StatusNotFound, "no replica that answers knows transaction "+in.ID)
	}
	t.Shards, t.Replicas, t.Missing = nonNil(t.Shards), nonNil(t.Replicas), nonNil(t.Missing)
	return &body[Trace]{t}, err
}

func (s *Server) proof(ctx context.Context, in *txIn) (*body[Proof], error) {
	id, err := ledger.ParseTxID(in.ID)
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, err.Error())
	}
	p, err := s.backend.Proof(ctx, id)
	return &body[Proof]{Proof{ID: id, Proof: base64.StdEncoding.EncodeToString(p)}}, err
}

func (s *Server) account(ctx context.Context, in *accountIn) (*body[Account], error) {
	addr, err := ledger.ParseAddress(in.Address)
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, err.Error())
	}
	a, err := s.backend.Account(ctx, addr, in.Cursor, in.Limit, in.Older, in.History)
	a.Outputs = nonNil(a.Outputs)
	return &body[Account]{a}, err
}

func (s *Server) block(ctx context.Context, in *blockIn) (*body[Block], error) {
	b, err := s.backend.Block(ctx, in.Shard, in.Height)
	b.Signers, b.Txs = nonNil(b.Signers), nonNil(b.Txs)
	return &body[Block]{b}, err
}

func (s *Server) audit(ctx context.Context, _ *none) (*body[Audit], error) {
	a, err := s.audits.audit(ctx, s.backend, time.Now)
	return &body[Audit]{a}, err
}

func (s *Server) ready(context.Context, *none) (*body[Readiness], error) {
	st := s.backend.Status()
	if !st.Ready {
		reason := st.NotReady
		if reason == "" {
			reason = "not ready, without a reason"
		}
		return nil, retryLater(problem(http.StatusServiceUnavailable, reason), retryBusy)
	}
	return &body[Readiness]{Readiness{Ready: true, Degraded: st.Degraded}}, nil
}

// nonNil turns nil into an empty list, so that clients get [] and never null.
func nonNil[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// submitBody describes both encodings of a submission.
func submitBody() *huma.RequestBody {
	least, most := 1, MaxTxsPerRequest
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{
			Type: huma.TypeObject, Required: []string{"txs"}, AdditionalProperties: false,
			Properties: map[string]*huma.Schema{"txs": {
				Type: huma.TypeArray, MinItems: &least, MaxItems: &most,
				Items:       &huma.Schema{Type: huma.TypeString},
				Description: "encoded transactions, each in base64 or in lower-case hexadecimal",
			}},
		}},
		TxsType: {Schema: &huma.Schema{
			Type: huma.TypeString, Format: "binary",
			Description: "version byte 1, a 2-byte count, then for each transaction its length in 4 bytes and its encoding; integers are big-endian",
		}},
	}}
}
