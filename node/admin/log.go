package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	golog "github.com/ipfs/go-log/v2"
)

const (
	// maxTails is the number of readers that follow the log at a time.
	maxTails = 3
	// maxLines is the largest number of older lines that a reader can ask for.
	maxLines = 10_000
	// linesAtOnce is the number of lines written to a reader between two deadlines.
	linesAtOnce = 256
)

// ownLoggers is the prefix of the loggers of this program. Others are those of libraries.
const ownLoggers = "bdt/"

// levels lists the levels of this program's loggers, and of those of libraries whose level is not error, the level that
// they have at the start.
func (s *Server) levels() LogLevels {
	v := LogLevels{Head: s.backend.Head(), Levels: []LogLevel{}}
	for name, level := range golog.SubsystemLevelNames() {
		if strings.HasPrefix(name, ownLoggers) || level != "error" && slices.Contains(golog.GetSubsystems(), name) {
			v.Levels = append(v.Levels, LogLevel{name, level})
		}
	}
	slices.SortFunc(v.Levels, func(a, b LogLevel) int { return strings.Compare(a.Subsystem, b.Subsystem) })
	return v
}

func (s *Server) setLevel(r *http.Request) (any, error) {
	var in SetLevel
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, in.Level) {
		return nil, refuse(http.StatusUnprocessableEntity, "level %q is unknown: use debug, info, warn or error", in.Level)
	}
	if in.Subsystem == "" {
		if err := golog.SetLogLevelRegex("^"+ownLoggers, in.Level); err != nil {
			return nil, err
		}
		return s.levels(), nil
	}
	name := in.Subsystem
	known := golog.GetSubsystems()
	if slices.Contains(known, ownLoggers+name) {
		name = ownLoggers + name
	}
	if !slices.Contains(known, name) {
		slices.Sort(known)
		known = slices.DeleteFunc(known, func(n string) bool { return !strings.HasPrefix(n, ownLoggers) })
		return nil, refuse(http.StatusNotFound, "no subsystem is called %q; those of this program are %s", in.Subsystem, strings.Join(known, ", "))
	}
	if err := golog.SetLogLevel(name, in.Level); err != nil {
		return nil, err
	}
	return s.levels(), nil
}

// log writes the last lines of the log, and with follow=true the following ones until the reader leaves.
func (s *Server) log(w http.ResponseWriter, r *http.Request) {
	lines, follow := 100, r.URL.Query().Get("follow") == "true"
	if text := r.URL.Query().Get("lines"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > maxLines {
			writeError(w, refuse(http.StatusUnprocessableEntity, "lines=%q: use 0 to %d", text, maxLines))
			return
		}
		lines = n
	}
	if follow {
		select {
		case s.tails <- struct{}{}:
			defer func() { <-s.tails }()
		default:
			writeError(w, refuse(http.StatusServiceUnavailable, "%d readers follow the log already", maxTails))
			return
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	t := tail{w: w, out: http.NewResponseController(w)}
	if t.follow(r.Context(), s, lines, follow) == tooSlow {
		s.dropped.Add(1)
	}
}

// tail writes log lines to one reader.
type tail struct {
	w   http.ResponseWriter
	out *http.ResponseController
}

// tailEnd is the reason for the end of an answer with log lines.
type tailEnd int

const (
	complete tailEnd = iota // all lines are written, or the reader or the replica has left
	tooSlow                 // the reader did not take the lines as fast as they were written
)

func (t *tail) follow(ctx context.Context, s *Server, lines int, on bool) tailEnd {
	next := s.logs.Last(lines)
	left := s.logs.Last(0)
	for first := true; ; first = false {
		list, after, lost := s.logs.From(next, linesAtOnce)
		if lost > 0 && !first {
			t.write([]LogLine{{Lost: lost}})
			return tooSlow
		}
		out := make([]LogLine, len(list))
		for i, l := range list {
			out[i].Line = string(l)
		}
		if !t.write(out) {
			if ctx.Err() != nil {
				return complete
			}
			return tooSlow
		}
		if next = after; !on && next >= left {
			return complete
		}
		if s.logs.Wait(ctx, next) != nil {
			return complete
		}
	}
}

// write writes lines within a deadline and reports whether the reader took them.
func (t *tail) write(lines []LogLine) bool {
	_ = t.out.SetWriteDeadline(time.Now().Add(writeTime)) // a connection that cannot have a deadline has ended
	enc := json.NewEncoder(t.w)
	enc.SetEscapeHTML(false)
	for i := range lines {
		if enc.Encode(&lines[i]) != nil {
			return false
		}
	}
	return t.out.Flush() == nil
}
