// Package apitest has parts of backends for tests of the API and of its clients.
package apitest

import (
	"context"
	"io"

	"bdtnode/node/api"
)

// Stream is a stream of the events of a list.
type Stream struct {
	Events []api.Event
	Follow bool // at the end of the list it waits instead of ending
	Place  api.Cursor
	sent   int
}

// Listed returns a stream of those events that a query selects by kind and place. Their cursors are set: every event is
// the first of its block.
func Listed(q api.EventQuery, events ...api.Event) *Stream {
	s := &Stream{Follow: q.Follow, Place: api.Cursor{Index: api.Whole}}
	if q.From != nil {
		s.Place = *q.From
	}
	for _, e := range events {
		chosen := e.Kind == api.EventGap
		for _, kind := range q.Kinds {
			chosen = chosen || kind == e.Kind
		}
		if chosen && e.Height > s.Place.Height {
			e.Cursor = api.Cursor{Height: e.Height}.Text(e.Shard)
			s.Events = append(s.Events, e)
		}
	}
	return s
}

// At implements [api.EventStream].
func (s *Stream) At() api.Cursor { return s.Place }

// Next implements [api.EventStream]. It returns one event.
func (s *Stream) Next(ctx context.Context) ([]byte, error) {
	if s.sent == len(s.Events) && s.Follow {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.sent == len(s.Events) {
		return nil, io.EOF
	}
	e := &s.Events[s.sent]
	s.sent++
	s.Place = api.Cursor{Height: e.Height}
	return api.EncodeEvent(e), nil
}

// Close implements [api.EventStream].
func (s *Stream) Close() {}

var _ api.EventStream = (*Stream)(nil)
