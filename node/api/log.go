package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
)

// Names of the two ledgers, as in the genesis and in [Status].
const (
	LedgerPayments = "payments"
	LedgerLog      = "log"
)

// IDsContent is the value of the parameter ids for ids that are made of the payloads.
const IDsContent = "content"

// ErrLogFull: the payloads that wait at the replica, or the share of them that this client may have, are too many. None of the
// request was taken.
var ErrLogFull = errors.New("too many payloads wait at this replica, from this address or in all: none of the request was taken")

// retryLog is the time after which a client may append again when too many payloads wait.
const retryLog = 200 * time.Millisecond

// appendIn is a request to append payloads.
type appendIn struct {
	upload
	Wait    Wait   `query:"wait" enum:"accepted,ordered,certified" default:"accepted" doc:"stage that all payloads must reach before the answer"`
	Timeout int64  `query:"timeout_ms" minimum:"1" maximum:"60000" default:"10000" doc:"longest wait in milliseconds"`
	IDs     string `query:"ids" enum:"content" doc:"content: payloads without an id get the SHA-256 of their bytes as their id, so that the log has each content once"`
}

// ledgerOnly refuses the requests of a handler if the network has another ledger.
func ledgerOnly[I, O any](s *Server, name string, h func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	return func(ctx context.Context, in *I) (*O, error) {
		switch {
		case (s.cfg.Log != nil) == (name == LedgerLog):
			return h(ctx, in)
		case name == LedgerLog:
			return nil, problem(http.StatusUnprocessableEntity, "this network settles payments (ledger payments) and has no log of payloads: use /v1/txs")
		}
		return nil, problem(http.StatusUnprocessableEntity, "this network orders opaque payloads (ledger log) and has no transactions and accounts: use /v1/log")
	}
}

// registerLog adds the routes of the log.
func (s *Server) registerLog(a huma.API) {
	route(s, a, huma.Operation{
		Method: http.MethodPost, Path: "/v1/log", OperationID: "append-payloads",
		Summary:     "Append payloads to the log of the shard and wait for a stage",
		Description: "A payload has 1 byte to 1 MiB. Each submission appends a payload once more, unless it has an id that the log has. Payloads of one request keep their order. 429 means that none was taken, since too many wait at the replica.",
		Errors:      []int{400, 413, 415, 422, 429, 503},
	}, ledgerOnly(s, LedgerLog, s.appendPayloads))
	a.OpenAPI().Paths["/v1/log"].Post.RequestBody = appendBody()
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/v1/log", OperationID: "read-log",
		Summary:     "Stream of the payloads of the log",
		Description: "Server-sent events, or frames of " + LogType + " if the header Accept names that type. Each event has as its id the place after it, from which a later stream continues, at any replica of the shard. An event gap names blocks that the replica does not have. An event end is the last one, with the reason.",
		Errors:      []int{422, 503},
	}, ledgerOnly(s, LedgerLog, s.readLog))
	a.OpenAPI().Paths["/v1/log"].Get.Responses["200"].Content = map[string]*huma.MediaType{
		EventsType: {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[LogEvent](), true, "")},
	}
	route(s, a, huma.Operation{
		Method: http.MethodGet, Path: "/v1/log/{name}", OperationID: "get-payload",
		Summary: "One payload of the log, with a proof if requested", Errors: []int{404, 422, 503},
	}, ledgerOnly(s, LedgerLog, s.payload))
}

// appendBody describes both encodings of payloads.
func appendBody() *huma.RequestBody {
	least, most := 1, MaxPayloadsPerRequest
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{
			Type: huma.TypeObject, Required: []string{"payloads"}, AdditionalProperties: false,
			Properties: map[string]*huma.Schema{
				"payloads": {
					Type: huma.TypeArray, MinItems: &least, MaxItems: &most, Items: &huma.Schema{Type: huma.TypeString},
					Description: "payloads of 1 byte to 1 MiB, each in base64",
				},
				"ids": {
					Type: huma.TypeArray, MaxItems: &most, Items: &huma.Schema{Type: huma.TypeString},
					Description: "id of each payload, 64 hexadecimal characters, or empty for none; may be left out",
				},
			},
		}},
		PayloadsType: {Schema: &huma.Schema{
			Type: huma.TypeString, Format: "binary",
			Description: "version byte 1, a 4-byte count, then for each payload: kind 1 byte (5: payload, 6: an id of 32 bytes and a payload), length 4 bytes, content; integers are big-endian",
		}},
	}}
}

func (s *Server) appendPayloads(ctx context.Context, in *appendIn) (*body[AppendAnswer], error) {
	place, err := s.admit(in.request)
	if err != nil {
		return nil, err
	}
	defer place.leave()
	raw, err := s.readBody(in.request, in.writer, place)
	if err != nil {
		return nil, err
	}
	entries, err := readPayloads(in.request.Header.Get("Content-Type"), raw)
	if err != nil {
		return nil, err
	}
	if in.IDs == IDsContent {
		entries = withIDs(entries)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(in.Timeout)*time.Millisecond)
	defer cancel()
	out, err := s.cfg.Log.Append(ctx, in.request.RemoteAddr, entries, in.Wait)
	if errors.Is(err, ErrLogFull) {
		return nil, retryLater(problem(http.StatusTooManyRequests, err.Error()), retryLog)
	}
	return &body[AppendAnswer]{out}, err
}

// readPayloads decodes a body of either encoding.
func readPayloads(contentType string, raw []byte) (ledger.Opaque, error) {
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && media == PayloadsType:
		p, err := ledger.DecodePayload(ledger.OpaqueKinds(), raw)
		if err != nil {
			return ledger.Opaque{}, problem(http.StatusUnprocessableEntity, err.Error())
		}
		return p.Opaque, nil
	case err == nil && media == "application/json":
		return readJSONPayloads(raw)
	}
	return ledger.Opaque{}, problem(http.StatusUnsupportedMediaType, fmt.Sprintf("content type %q, use application/json or %s", contentType, PayloadsType))
}

func readJSONPayloads(raw []byte) (none ledger.Opaque, err error) {
	var in struct {
		Payloads [][]byte `json:"payloads"`
		IDs      []string `json:"ids"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil || dec.More() {
		return none, problem(http.StatusBadRequest, fmt.Sprintf(`the body is not JSON of the form {"payloads":["…"]} with payloads in base64: %v`, err))
	}
	switch n := len(in.Payloads); {
	case n == 0 || n > MaxPayloadsPerRequest:
		return none, problem(http.StatusUnprocessableEntity, fmt.Sprintf("%d payloads in the request, want 1 to %d", n, MaxPayloadsPerRequest))
	case in.IDs != nil && len(in.IDs) != n:
		return none, problem(http.StatusUnprocessableEntity, fmt.Sprintf("%d ids for %d payloads", len(in.IDs), n))
	}
	b := make([]byte, 0, len(raw))
	for i, p := range in.Payloads {
		if why := checkPayload(len(p)); why != "" {
			return none, badPayload(fmt.Sprintf("body.payloads[%d]", i), why)
		}
		var id []byte
		if in.IDs != nil && in.IDs[i] != "" {
			if id, err = hex.DecodeString(in.IDs[i]); err != nil || len(id) != ledger.OpaqueIDSize {
				return none, badPayload(fmt.Sprintf("body.ids[%d]", i), "an id has 64 hexadecimal characters")
			}
		}
		b = ledger.AppendOpaque(b, id, p)
	}
	return ledger.ReadOpaque(b)
}

// checkPayload is the reason why no payload can have a length, empty if one can.
func checkPayload(size int) string {
	switch {
	case size == 0:
		return "the payload is empty: a payload has 1 byte or more"
	case size > ledger.MaxOpaqueBytes:
		return fmt.Sprintf("the payload has %d bytes, at most %d are allowed", size, ledger.MaxOpaqueBytes)
	}
	return ""
}

func badPayload(location, why string) error {
	p := problem(http.StatusUnprocessableEntity, why)
	p.Errors = []*huma.ErrorDetail{{Location: location, Message: why}}
	return p
}

// withIDs gives each entry without an id the id of its content.
func withIDs(o ledger.Opaque) ledger.Opaque {
	b := make([]byte, 0, len(o.Raw())+o.Len()*ledger.OpaqueIDSize)
	for _, e := range o.Each() {
		if e.ID == nil {
			id := digest.Plain(e.Payload)
			e.ID = id[:]
		}
		b = ledger.AppendOpaque(b, e.ID, e.Payload)
	}
	o, err := ledger.ReadOpaque(b)
	if err != nil {
		panic(fmt.Sprintf("api: entries that were encoded do not decode: %v", err))
	}
	return o
}

type payloadIn struct {
	Name  string `path:"name" maxLength:"64" doc:"height, batch and position, as in 12.0.3"`
	Proof bool   `query:"proof" default:"false" doc:"with a proof, which is checked with the genesis alone; 503 while the header is not certified"`
}

func (s *Server) payload(_ context.Context, in *payloadIn) (*body[LogPayload], error) {
	at, err := ParseLogName(in.Name)
	if err == nil && strings.Count(in.Name, ".") != 2 {
		err = fmt.Errorf("%q names no payload: use height.batch.position such as 12.0.3", in.Name)
	}
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, err.Error())
	}
	e, proof, err := s.cfg.Log.Payload(at, in.Proof)
	if err != nil {
		return nil, err
	}
	out := &body[LogPayload]{}
	for p := range e.payloads(s.backend.Status().Shard) {
		out.Body = p
	}
	out.Body.Proof = base64.StdEncoding.EncodeToString(proof)
	return out, nil
}
