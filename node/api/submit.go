package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"bdtnode/internal/origin"
	"bdtnode/ledger"
)

// retryBusy is the time after which a client may submit again if there was no place.
const retryBusy = time.Second

// answerBuffer is the size of the buffer for writing an answer, in bytes.
const answerBuffer = 16 << 10

// upload is a request whose body its handler reads itself, for two reasons: the library would pass a buffer that it
// reuses for the next request, while the mempool keeps the content; and it would leave its read deadline on the connection,
// which would cancel the wait that follows.
type upload struct {
	request *http.Request
	writer  http.ResponseWriter
}

// Resolve stores the request, so that the handler can read the body when there is space for it.
func (in *upload) Resolve(ctx huma.Context) []error {
	in.request, in.writer = humago.Unwrap(ctx)
	return nil
}

// admit gives a request its place in the intake. It refuses bodies that are announced as too large.
func (s *Server) admit(r *http.Request) (*submission, error) {
	if r.ContentLength > s.cfg.MaxBody {
		return nil, s.tooLarge()
	}
	place := s.intake.enter(origin.Of(r.RemoteAddr))
	if place == nil {
		return nil, tooMany()
	}
	return place, nil
}

// tooMany is the problem of a submission without a free place or memory.
func tooMany() error {
	p := problem(http.StatusServiceUnavailable, "too many submissions are waiting at this replica, try again later or at another replica")
	return retryLater(p, retryBusy)
}

// submitIn is a submission.
type submitIn struct {
	upload
	Wait    Wait  `query:"wait" enum:"accepted,ordered,certified,settled" default:"accepted" doc:"stage that each transaction must reach before the answer"`
	Timeout int64 `query:"timeout_ms" minimum:"1" maximum:"60000" default:"10000" doc:"longest wait in milliseconds; transactions without the stage are then answered with timed_out"`
	Hints   bool  `query:"hints" default:"true" doc:"whether transactions with inputs in several shards are also sent to a replica of each of these shards, which saves a round; without it the other shards learn of them from LDs"`
}

// submitOut writes the answers as a stream. If they were assembled in memory first, many clients with many copies of
// one transaction would make the replica hold the text of all of them at the same time.
type submitOut struct{ Body func(huma.Context) }

func (s *Server) submit(ctx context.Context, in *submitIn) (*submitOut, error) {
	place, err := s.admit(in.request)
	if err != nil {
		return nil, err
	}
	answers, err := s.answers(ctx, in, place)
	if err != nil {
		place.leave()
		return nil, err
	}
	return &submitOut{Body: func(out huma.Context) {
		defer place.leave()
		out.SetHeader("Content-Type", "application/json")
		_ = answers.write(out.BodyWriter()) // a client that left is no concern
	}}, nil
}

// answers are the answers to a request's transactions. Copies of one transaction have one answer: text is as long as
// there are distinct transactions, and index has the place in it of each transaction of the request.
type answers struct {
	text  [][]byte // JSON
	index []int
}

func (s *Server) answers(ctx context.Context, in *submitIn, place *submission) (*answers, error) {
	txs, out, err := s.distinct(in, place)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(in.Timeout)*time.Millisecond)
	defer cancel()
	list := s.backend.Submit(ctx, in.request.RemoteAddr, txs, in.Wait, in.Hints)
	if len(list) != len(txs) {
		panic(fmt.Sprintf("%d answers for %d transactions", len(list), len(txs)))
	}
	if after, full := allFull(list); full {
		p := problem(http.StatusTooManyRequests, "the mempool, or the share of it that this client may have, is full: none of the transactions was taken")
		return nil, retryLater(p, after)
	}
	out.text = make([][]byte, len(list))
	for i := range list {
		if out.text[i], err = json.Marshal(&list[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// distinct reads the transactions of a request, each once. The body is not kept, and gives back its room in the intake but
// for that of the distinct transactions.
func (s *Server) distinct(in *submitIn, place *submission) ([][]byte, *answers, error) {
	txs, err := s.readTxs(in, place)
	if err != nil {
		return nil, nil, err
	}
	out := &answers{}
	txs, out.index = ledger.Distinct(txs)
	kept := 0
	for _, tx := range txs {
		kept += len(tx)
	}
	place.shrink(int64(kept))
	return txs, out, nil
}

// write writes a [SubmitAnswer], some answers at a time.
func (x *answers) write(to io.Writer) error {
	w := bufio.NewWriterSize(to, answerBuffer)
	before := `{"answers":[`
	for _, k := range x.index {
		if _, err := fmt.Fprintf(w, "%s%s", before, x.text[k]); err != nil {
			return err
		}
		before = ","
	}
	if _, err := fmt.Fprintln(w, "]}"); err != nil {
		return err
	}
	return w.Flush()
}

// allFull reports whether every transaction was refused for want of room, in the mempool or for waits, and when there
// may be some.
func allFull(answers []TxAnswer) (time.Duration, bool) {
	var after int64
	for i := range answers {
		if r := answers[i].Reason; r != ReasonBookFull && r != ReasonBusy {
			return 0, false
		}
		after = max(after, answers[i].RetryMS)
	}
	return time.Duration(after) * time.Millisecond, true
}

// readTxs reads the body in either encoding.
func (s *Server) readTxs(in *submitIn, place *submission) ([][]byte, error) {
	body, err := s.readBody(in.request, in.writer, place)
	if err != nil {
		return nil, err
	}
	media, _, err := mime.ParseMediaType(in.request.Header.Get("Content-Type"))
	switch {
	case err == nil && media == TxsType:
		txs, err := DecodeTxs(body)
		if err != nil {
			return nil, problem(http.StatusUnprocessableEntity, err.Error())
		}
		return txs, nil
	case err == nil && media == "application/json":
		return decodeJSON(body)
	}
	return nil, problem(http.StatusUnsupportedMediaType, fmt.Sprintf("content type %q, use application/json or %s",
		in.request.Header.Get("Content-Type"), TxsType))
}

func (s *Server) tooLarge() error {
	return problem(http.StatusRequestEntityTooLarge,
		fmt.Sprintf("the request body is larger than %d bytes, send fewer transactions at a time", s.cfg.MaxBody))
}

func decodeJSON(body []byte) ([][]byte, error) {
	list, err := decodeBody(body)
	if err != nil {
		return nil, problem(http.StatusBadRequest, `the body is not JSON of the form {"txs":["..."]}: `+err.Error())
	}
	if len(list) == 0 || len(list) > MaxTxsPerRequest {
		return nil, problem(http.StatusUnprocessableEntity,
			fmt.Sprintf("%d transactions in the request, want 1 to %d", len(list), MaxTxsPerRequest))
	}
	txs := make([][]byte, len(list))
	for i, text := range list {
		tx, err := decodeTx(text)
		if err != nil {
			p := problem(http.StatusUnprocessableEntity, "a transaction is neither hexadecimal nor base64")
			p.Errors = []*huma.ErrorDetail{{Location: fmt.Sprintf("body.txs[%d]", i), Message: err.Error()}}
			return nil, p
		}
		txs[i] = tx
	}
	return txs, nil
}

// decodeBody decodes a JSON body: one object with the field txs alone, once. The library would accept TXS too, and take the
// last of two fields.
func decodeBody(body []byte) (list []string, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	want := func(delim json.Delim) error {
		switch t, err := dec.Token(); {
		case err != nil:
			return err
		case t != delim:
			return fmt.Errorf("%v in place of %v", t, delim)
		}
		return nil
	}
	if err := want('{'); err != nil {
		return nil, err
	}
	for given := false; dec.More(); given = true {
		switch key, err := dec.Token(); {
		case err != nil:
			return nil, err
		case key != "txs":
			return nil, fmt.Errorf("unknown field %q", key)
		case given:
			return nil, errors.New("the field txs is given twice")
		}
		if err := dec.Decode(&list); err != nil {
			return nil, err
		}
	}
	if err := want('}'); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return list, nil
}

// decodeTx decodes lower-case hexadecimal, otherwise base64. No text has two meanings: an encoding begins with its
// version, and base64 of a version below 104 begins with a capital letter.
func decodeTx(text string) ([]byte, error) {
	if tx, err := hex.DecodeString(text); err == nil && lower(text) {
		return tx, nil
	}
	return base64.StdEncoding.Strict().DecodeString(text)
}

func lower(s string) bool {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'F' {
			return false
		}
	}
	return true
}
