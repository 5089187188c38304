// Package logring keeps the newest log lines of the process in memory, bounded in bytes, for operators that read them
// while the process runs.
//
// A reader follows the lines at its own pace. Lines that leave the ring before a reader takes them are lost for this
// reader, which gets their number. A slow reader never delays a writer.
package logring

import (
	"bufio"
	"context"
	"errors"
	"io"
	"sync"

	golog "github.com/ipfs/go-log/v2"
)

const (
	// DefaultBytes is the number of bytes of lines that a ring keeps.
	DefaultBytes = 1 << 20
	// MaxLine is the largest length of a kept line in bytes. A longer line is cut, and is no JSON then.
	MaxLine = 16 << 10
)

// Ring keeps the newest lines. It is safe for concurrent use.
type Ring struct {
	limit int

	mu    sync.Mutex
	lines [][]byte // oldest first
	first uint64   // number of lines[0], from 0
	bytes int
	more  chan struct{} // closed when a line is added
}

// New returns an empty ring that keeps lines of at most so many bytes in all.
func New(limit int) *Ring { return &Ring{limit: limit, more: make(chan struct{})} }

// Add adds a line without its end.
func (r *Ring) Add(line []byte) {
	line = append([]byte(nil), line[:min(len(line), MaxLine)]...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	r.bytes += len(line)
	for r.bytes > r.limit && len(r.lines) > 1 {
		r.bytes -= len(r.lines[0])
		r.lines[0] = nil
		r.lines = r.lines[1:]
		r.first++
	}
	close(r.more)
	r.more = make(chan struct{})
}

// Bytes is the number of bytes of the kept lines.
func (r *Ring) Bytes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

// From returns the kept lines from number next on, at most so many, the number after the last of them, and the number of
// lines from next on that the ring no longer has. The lines must not be changed.
func (r *Ring) From(next uint64, most int) (lines [][]byte, after, lost uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if next < r.first {
		lost, next = r.first-next, r.first
	}
	skip := min(int(next-r.first), len(r.lines))
	lines = append(lines, r.lines[skip:min(skip+most, len(r.lines))]...)
	return lines, next + uint64(len(lines)), lost
}

// Last is the number from which [Ring.From] returns the last so many kept lines.
func (r *Ring) Last(lines int) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first + uint64(len(r.lines)-min(lines, len(r.lines)))
}

// Wait returns when there is a line with number next or a later one, or when ctx ends, with its error.
func (r *Ring) Wait(ctx context.Context, next uint64) error {
	for {
		r.mu.Lock()
		more, have := r.more, r.first+uint64(len(r.lines))
		r.mu.Unlock()
		if have > next {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Attach adds the lines of all loggers of the process to the ring, as JSON, until stop is called. The loggers wait until a
// line is in the ring, which takes no longer than copying it.
func (r *Ring) Attach() (stop func()) {
	pipe := golog.NewPipeReader(golog.PipeFormat(golog.JSONOutput), golog.PipeLevel(golog.LevelDebug))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.copy(pipe)
	}()
	return func() {
		_ = pipe.Close() // the pipe is in memory, and closing it ends the copy
		<-ended
	}
}

// copy adds the lines of a reader until its end.
func (r *Ring) copy(from io.Reader) {
	lines := bufio.NewReaderSize(from, MaxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 && line[len(line)-1] == '\n' {
			line = line[:len(line)-1]
		}
		if len(line) > 0 {
			r.Add(line)
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line
			_, err = lines.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}
