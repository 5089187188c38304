package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/registry"
	"bdtnode/node/admin"
)

// watchEvery is the time between two drawings of --watch.
const watchEvery = time.Second

// reach selects a replica of this machine and the way in which its state is shown.
type reach struct {
	home, replica string
	watch         bool
}

// add adds --home and --replica to a command and its subcommands.
func (f *reach) add(c *cobra.Command) {
	fs := c.PersistentFlags()
	fs.StringVar(&f.home, "home", "", "home of the replica, or directory of a network with --replica (default: the newest network running on this machine)")
	fs.StringVar(&f.replica, "replica", "", "replica of the network, such as 0/1 or s0r1 for replica 1 of shard 0 (default: the first that runs)")
	paths(fs, "home")
}

// addWatch adds --watch to one command.
func (f *reach) addWatch(c *cobra.Command) {
	addWatch(c, &f.watch)
}

var replicaForms = []*regexp.Regexp{regexp.MustCompile(`^([0-9]+)/([0-9]+)$`), regexp.MustCompile(`^s([0-9]+)r([0-9]+)$`)}

// parseReplica parses the name of a replica: 0/1 or s0r1.
func parseReplica(text string) (shard uint16, replica int, err error) {
	for _, form := range replicaForms {
		if m := form.FindStringSubmatch(text); m != nil {
			s, err := strconv.ParseUint(m[1], 10, 16)
			r, err2 := strconv.ParseUint(m[2], 10, 16)
			if errors.Join(err, err2) == nil {
				return uint16(s), int(r), nil
			}
		}
	}
	return 0, 0, output.Usage("%q is not a replica: use SHARD/REPLICA, such as 0/1", text)
}

// dial finds the selected replica, which must run.
func (a *app) dial(f *reach) (*admin.Client, error) {
	home, err := a.replicaHome(f)
	if err != nil {
		return nil, err
	}
	c, err := admin.Dial(home)
	return c, adminFailure(err)
}

// replicaHome is the home of the selected replica.
func (a *app) replicaHome(f *reach) (string, error) {
	var shard uint16
	var replica int
	if f.replica != "" {
		var err error
		if shard, replica, err = parseReplica(f.replica); err != nil {
			return "", err
		}
	}
	dirs, err := candidateHomes(f)
	if err != nil {
		return "", err
	}
	if f.replica == "" {
		for _, dir := range dirs {
			if _, err := admin.SocketPath(dir.home); err == nil {
				return dir.home, nil
			}
		}
		return "", output.Unreachable("no replica of this network runs").WithHint("start it with bdtnode net up or bdtnode start")
	}
	for _, dir := range dirs {
		if dir.shard == shard && dir.replica == replica {
			return dir.home, nil
		}
	}
	return "", output.NotFound("the network has no replica %d/%d on this machine", shard, replica)
}

// localHome is the home of a replica on this machine.
type localHome struct {
	shard   uint16
	replica int
	home    string
}

// candidateHomes lists the homes among which --replica selects.
func candidateHomes(f *reach) (out []localHome, err error) {
	if f.home != "" {
		dir, err := filepath.Abs(f.home)
		if err != nil {
			return nil, fmt.Errorf("home: %w", err)
		}
		if homes := replicaHomes(dir); len(homes) > 0 {
			for _, home := range homes {
				var h localHome
				if _, err := fmt.Sscanf(filepath.Base(home), "shard%d-replica%d", &h.shard, &h.replica); err == nil {
					h.home = home
					out = append(out, h)
				}
			}
			return out, nil
		}
		if _, err := os.Stat(dir); err != nil {
			return nil, output.Usage("--home: %v", err)
		}
		if f.replica != "" {
			return nil, output.Usage("--replica selects a replica of a network, and %s is not the directory of a network: leave --replica out", dir)
		}
		return []localHome{{home: dir}}, nil
	}
	running, err := registry.List(registry.Dir())
	if err != nil {
		return nil, err
	}
	for _, e := range running {
		for _, r := range e.Replicas {
			if r.Home != "" {
				out = append(out, localHome{r.Shard, int(r.Replica), r.Home})
			}
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	return nil, output.Unreachable("no network is running on this machine").WithHint("start one with bdtnode net up, or choose a replica with --home DIR")
}

// adminFailure maps an error of the administration interface to a failure with its exit code.
func adminFailure(err error) error {
	var refused *admin.StatusError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, admin.ErrNoSocket):
		return output.Unreachable("%v", err).WithHint("start it with bdtnode start --home DIR")
	case errors.Is(err, admin.ErrUnreachable):
		return output.Unreachable("%v", err)
	case errors.As(err, &refused):
		switch refused.Status {
		case http.StatusNotFound:
			return output.NotFound("%v", err)
		case http.StatusUnprocessableEntity, http.StatusBadRequest:
			return output.Usage("%v", err)
		}
	}
	return err
}

// show prints a state of a replica, once or, with --watch, every second. head returns the first part of the answer. If
// parts of the answer are missing, the exit code of a single one is 7.
func show[T any](ctx context.Context, a *app, f *reach, path string, head func(*T) *admin.Head, text func(w io.Writer, v *T)) error {
	c, err := a.dial(f)
	if err != nil {
		return err
	}
	for {
		var v T
		err := adminFailure(c.Get(ctx, path, &v))
		switch {
		case err == nil:
			if f.watch {
				a.print.Clear()
			}
			if err := a.print.Data(&v, func(w io.Writer) {
				printHead(w, head(&v))
				text(w, &v)
				printMissing(w, head(&v))
			}); err != nil {
				return err
			}
			if n := len(head(&v).Errors); n > 0 && !f.watch {
				return output.Unhealthy("%d parts of the answer are missing", n)
			}
		case !f.watch || ctx.Err() != nil:
			return interruptedWatch(f, ctx, err)
		default:
			a.print.Note("%v", err) // the replica may be restarting
		}
		if !f.watch {
			return nil
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// interruptedWatch is the result of a command that ended with an error: none if Ctrl-C ended --watch.
func interruptedWatch(f *reach, ctx context.Context, err error) error {
	if f.watch && ctx.Err() != nil {
		return nil
	}
	return err
}

func printHead(w io.Writer, h *admin.Head) {
	fmt.Fprintf(w, "replica\t%d/%d\ntime\t%s\n", h.Shard, h.Replica, time.UnixMilli(h.TimeMS).UTC().Format("2006-01-02T15:04:05.000Z"))
}

func printMissing(w io.Writer, h *admin.Head) {
	for _, e := range h.Errors {
		fmt.Fprintf(w, "\nmissing: %s: %s\n", e.Part, e.Error)
	}
}

// seconds is a time in milliseconds, in ms or s; "-" for 0.
func seconds(ms int64) string {
	switch {
	case ms == 0:
		return "-"
	case ms < 1000:
		return fmt.Sprintf("%d ms", ms)
	}
	return fmt.Sprintf("%.1f s", float64(ms)/1000)
}

// numbersText lists numbers with spaces, "-" if there are none.
func numbersText[T ~uint16 | ~uint64 | ~int](list []T) string {
	if len(list) == 0 {
		return "-"
	}
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.FormatUint(uint64(n), 10)
	}
	return strings.Join(words, " ")
}

// yes is "yes" or "-".
func yes(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}
