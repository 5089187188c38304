package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strconv"
	"time"
)

// Profiles are the kinds of profiles.
var Profiles = []string{"cpu", "heap", "goroutine", "trace"}

// Bounds of profiles.
const (
	// MaxCPUSeconds and MaxTraceSeconds bound the durations of profiles that take time.
	MaxCPUSeconds   = 60
	MaxTraceSeconds = 10

	maxProfiles  = 2        // in progress at a time
	maxProfile   = 64 << 20 // bytes
	profileGrace = 30 * time.Second
)

// profile writes a profile: cpu, heap and trace in the formats of go tool pprof and go tool trace, goroutine as text.
func (s *Server) profile(w http.ResponseWriter, r *http.Request) {
	kind := r.PathValue("kind")
	seconds, err := profileSeconds(kind, r.URL.Query().Get("seconds"))
	if err != nil {
		writeError(w, err)
		return
	}
	select {
	case s.profiles <- struct{}{}:
		defer func() { <-s.profiles }()
	default:
		writeError(w, refuse(http.StatusServiceUnavailable, "%d profiles are in progress", maxProfiles))
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(seconds + profileGrace)) // else the answer ends earlier
	out, err := collect(r.Context(), kind, seconds)
	if err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(out) // fails only if the reader has left
}

// profileSeconds is the duration of a profile, 0 for one of a moment.
func profileSeconds(kind, text string) (time.Duration, error) {
	if !slices.Contains(Profiles, kind) {
		return 0, refuse(http.StatusNotFound, "no profile is called %q: use cpu, heap, goroutine or trace", kind)
	}
	most, seconds := MaxCPUSeconds, 5
	switch kind {
	case "trace":
		most, seconds = MaxTraceSeconds, 2
	case "heap", "goroutine":
		if text != "" {
			return 0, refuse(http.StatusUnprocessableEntity, "a %s profile is of one moment: leave seconds out", kind)
		}
		return 0, nil
	}
	if text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			return 0, refuse(http.StatusUnprocessableEntity, "seconds=%q: use 1 to %d", text, most)
		}
		seconds = n
	}
	return time.Duration(seconds) * time.Second, nil
}

// collect takes a profile of this process. If ctx ends first, the profile is ended too.
func collect(ctx context.Context, kind string, d time.Duration) ([]byte, error) {
	out := &bounded{full: make(chan struct{})}
	var err error
	switch kind {
	case "cpu":
		if err = pprof.StartCPUProfile(out); err == nil {
			out.wait(ctx, d)
			pprof.StopCPUProfile()
		}
	case "trace":
		if err = trace.Start(out); err == nil {
			out.wait(ctx, d)
			trace.Stop()
		}
	case "heap":
		err = pprof.Lookup("heap").WriteTo(out, 0)
	case "goroutine":
		err = pprof.Lookup("goroutine").WriteTo(out, 2)
	}
	switch {
	case errors.Is(err, errFull) || out.over:
		return nil, refuse(http.StatusInsufficientStorage, "the %s profile has more than %d bytes: use fewer seconds", kind, maxProfile)
	case err != nil:
		return nil, refuse(http.StatusConflict, "%s profile: %w", kind, err)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return out.Bytes(), nil
}

var errFull = errors.New("the buffer is full")

// bounded is a buffer of at most maxProfile bytes.
type bounded struct {
	bytes.Buffer
	over bool
	full chan struct{} // closed when it is over
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.over || b.Len()+len(p) > maxProfile {
		if !b.over {
			b.over = true
			close(b.full)
		}
		return 0, fmt.Errorf("profile: %w", errFull)
	}
	return b.Buffer.Write(p)
}

func (b *bounded) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-b.full:
	}
}
