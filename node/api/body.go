package api

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"bdtnode/internal/wire"
)

// TxsType is the media type of the binary body of POST /v1/txs, written by [EncodeTxs]. It carries the same data as the
// JSON body and is much cheaper to encode and decode.
const TxsType = "application/octet-stream"

// txsVersion is the version of the format of the binary body.
const txsVersion = 1

// EncodeTxs encodes 1 to [MaxTxsPerRequest] transactions as a binary body: a version byte, a 2-byte count, then for
// each transaction its length in 4 bytes and its bytes. Integers are big-endian.
func EncodeTxs(txs [][]byte) []byte {
	size := 3
	for _, tx := range txs {
		size += 4 + len(tx)
	}
	b := append(make([]byte, 0, size), txsVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(len(txs)))
	for _, tx := range txs {
		b = wire.AppendBytes(b, tx)
	}
	return b
}

// DecodeTxs decodes a body of [EncodeTxs]. The transactions share the memory of body. Errors wrap [wire.ErrMalformed].
func DecodeTxs(body []byte) ([][]byte, error) {
	r := wire.NewReader(body)
	if v := r.U8(); r.Err() == nil && v != txsVersion {
		r.Fail("version %d of the list of transactions, but this replica reads version %d", v, txsVersion)
	}
	txs := make([][]byte, r.Count(MaxTxsPerRequest, 4))
	for i := range txs {
		txs[i] = r.Bytes(len(body))
	}
	if r.Err() == nil && len(txs) == 0 {
		r.Fail("the list has no transactions")
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("binary list of transactions: %w", err)
	}
	return txs, nil
}

// firstRoom is the size of the buffer for a body before any byte has arrived.
const firstRoom = 4 << 10

// readBody reads the body of a submission or of payloads. Memory is reserved as bytes arrive, for any announced length: the buffer is
// doubled when it is full. While it is doubled, the old half counts too, until it is collected. After
// [Config].BodyGrace the body must arrive at [Config].BodyRate at least, so a client that sends nothing holds its place
// for at most the grace.
func (s *Server) readBody(r *http.Request, w http.ResponseWriter, place *submission) ([]byte, error) {
	rc := http.NewResponseController(w)
	room := min(s.cfg.MaxBody, firstRoom)
	if n := r.ContentLength; n > 0 {
		room = min(room, n)
	}
	if !place.grow(room) {
		return nil, tooMany()
	}
	buf := make([]byte, 0, room)
	for began := time.Now(); ; {
		due := began.Add(s.cfg.BodyGrace + time.Duration(len(buf))*time.Second/time.Duration(s.cfg.BodyRate))
		if err := setDeadline(rc.SetReadDeadline, due); err != nil {
			return nil, fmt.Errorf("set a deadline for the body: %w", err)
		}
		spare := buf[len(buf):cap(buf)]
		if len(spare) == 0 { // full: either the body ends here, or the buffer must grow
			spare = make([]byte, 1)
		}
		n, err := r.Body.Read(spare)
		switch {
		case n > 0 && len(buf) == cap(buf) && int64(len(buf)) == s.cfg.MaxBody:
			return nil, s.tooLarge()
		case n > 0 && len(buf) == cap(buf):
			more := min(int64(cap(buf)), s.cfg.MaxBody-int64(cap(buf)))
			if !place.grow(more) {
				return nil, tooMany()
			}
			buf = append(append(make([]byte, 0, int64(cap(buf))+more), buf...), spare[0])
		default:
			buf = buf[:len(buf)+n]
		}
		switch {
		case err == io.EOF:
			// The server keeps reading to detect a client that leaves. It would mistake an expired deadline for that.
			return buf, setDeadline(rc.SetReadDeadline, time.Time{})
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, problem(http.StatusRequestTimeout, fmt.Sprintf("the request body arrived too slowly: %d bytes so far, want at least %d bytes a second", len(buf), s.cfg.BodyRate))
		case err != nil:
			return nil, problem(http.StatusBadRequest, "the request body did not arrive in full: "+err.Error())
		}
	}
}

// setDeadline sets a deadline of a connection. It ignores writers without a connection, such as those of tests.
func setDeadline(set func(time.Time) error, at time.Time) error {
	if err := set(at); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
