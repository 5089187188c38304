package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

// Bounds of one request of log append.
const (
	appendPayloads = 1000
	appendBytes    = 1 << 20
)

// appendFlags are the flags of log append.
type appendFlags struct {
	file    string
	id      string
	once    bool
	wait    string
	timeout time.Duration
}

func newLogAppend(a *app) *cobra.Command {
	var f appendFlags
	c := &cobra.Command{
		Use:   "append [PAYLOAD…|-]",
		Short: "Append payloads to the log of a shard (networks with --ledger log)",
		Long: `Appends each argument as a payload to the log of the shard of the replica asked. With --file the bytes of a file are one
payload. With - each line of standard input is a payload, without its line end; payloads are sent as lines arrive. A
payload has 1 byte to 1 MiB.

A payload is appended once for each call, also if the same bytes are in the log. With --once the log has each content
once, and with --id a payload is in the log once for this id: then the place of the earlier one is printed. A log
remembers the newest 262144 ids.

The command prints the place of each payload: height, batch and position. log tail --from reads it. If no outcome is
known within the time of --timeout, the exit code is 5, and payloads may be appended later.`,
		Example: `  bdtnode log append hello world
  bdtnode log append --file README.md --once
  bdtnode log append --wait accepted -`,
		RunE: func(cmd *cobra.Command, args []string) error { return logAppend(cmd.Context(), a, &f, args) },
	}
	fs := c.Flags()
	fs.StringVar(&f.file, "file", "", "file whose bytes are one payload")
	fs.StringVar(&f.id, "id", "", "id of the only payload, 64 hexadecimal characters: the log has it once")
	fs.BoolVar(&f.once, "once", false, "use the SHA-256 of each payload as its id: the log has each content once (default false)")
	fs.StringVar(&f.wait, "wait", string(api.WaitOrdered), "stage to wait for: accepted, ordered or certified")
	fs.DurationVar(&f.timeout, "timeout", 30*time.Second, "time to wait for the stage")
	paths(fs, "file")
	words(c, "wait", string(api.WaitAccepted), string(api.WaitOrdered), string(api.WaitCertified))
	a.nodeFlag(c)
	return c
}

func (f *appendFlags) check(args []string) error {
	stdin := len(args) == 1 && args[0] == "-"
	switch {
	case f.timeout <= 0:
		return output.Usage("--timeout %v: use a time above 0", f.timeout)
	case (len(args) > 0) == (f.file != ""):
		return output.Usage("give payloads, or - for the lines of standard input, or --file FILE")
	case f.id != "" && (f.once || stdin || len(args) > 1):
		return output.Usage("--id is the id of one payload: give one, without --once")
	}
	return nil
}

// add adds a payload with the id that the flags give it.
func (f *appendFlags) add(p *client.Payloads, payload []byte) error {
	switch {
	case f.id != "":
		id, err := hex.DecodeString(f.id)
		if err != nil || len(id) != ledger.OpaqueIDSize {
			return output.Usage("--id %q: an id has %d hexadecimal characters", f.id, 2*ledger.OpaqueIDSize)
		}
		return p.AddWithID([32]byte(id), payload)
	case f.once:
		return p.AddWithID(sha256.Sum256(payload), payload)
	}
	return p.Add(payload)
}

func logAppend(ctx context.Context, a *app, f *appendFlags, args []string) error {
	if err := f.check(args); err != nil {
		return err
	}
	c, err := connectLog(ctx, a)
	if err != nil {
		return err
	}
	if len(args) == 1 && args[0] == "-" {
		return appendLines(ctx, a, f, c)
	}
	var payloads [][]byte
	for _, text := range args {
		payloads = append(payloads, []byte(text))
	}
	if f.file != "" {
		raw, err := readBounded(f.file, ledger.MaxOpaqueBytes)
		if err != nil {
			return output.Usage("payload: %v", err)
		}
		payloads = append(payloads, raw)
	}
	var p client.Payloads
	for i, payload := range payloads {
		if err := f.add(&p, payload); err != nil {
			return output.Usage("payload %d: %v", i+1, err)
		}
	}
	return appendOne(ctx, a, f, c, &p)
}

// connectLog finds a replica of a network that orders payloads.
func connectLog(ctx context.Context, a *app) (*client.Client, error) {
	net, err := connectTo(ctx, a, api.LedgerLog)
	if err != nil {
		return nil, err
	}
	return net.first(), nil
}

// connectTo is connect for a command that needs a ledger.
func connectTo(ctx context.Context, a *app, ledger string) (*replicas, error) {
	net, err := a.connect(ctx)
	switch {
	case err != nil:
		return nil, err
	case net.status.Ledger == ledger || net.status.Ledger == "": // a replica of an earlier version
		return net, nil
	case ledger == api.LedgerLog:
		return nil, output.Usage("network %s settles payments: it has no log of payloads", net.status.NetworkName).
			WithHint("pay with bdtnode tx send, or start a network with --ledger log")
	}
	return nil, output.Usage("network %s orders opaque payloads (ledger log): it has no transactions and accounts", net.status.NetworkName).
		WithHint("append payloads with bdtnode log append")
}

// appendLines appends the lines of standard input. Lines that have arrived share a request.
func appendLines(ctx context.Context, a *app, f *appendFlags, c *client.Client) error {
	lines := make(chan []byte, appendPayloads)
	failed := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(lines)
		failed <- scanLines(ctx, a.in, lines)
	}()
	var p client.Payloads
	number := 0
	for line, ok := <-lines; ok; line, ok = <-lines {
		p.Reset()
		for more := true; more; {
			number++
			if err := f.add(&p, line); err != nil {
				return output.Usage("line %d: %v", number, err)
			}
			if p.Len() == appendPayloads || p.Size() >= appendBytes {
				break
			}
			select {
			case line, more = <-lines:
			default:
				more = false
			}
		}
		if err := appendOne(ctx, a, f, c, &p); err != nil {
			return err
		}
	}
	if err := <-failed; err != nil {
		return output.Usage("standard input: line %d: %v", number+1, err)
	}
	return nil
}

func scanLines(ctx context.Context, in io.Reader, lines chan<- []byte) error {
	s := bufio.NewScanner(in)
	s.Buffer(nil, ledger.MaxOpaqueBytes+2)
	for s.Scan() {
		select {
		case lines <- append([]byte(nil), s.Bytes()...):
		case <-ctx.Done():
			return nil
		}
	}
	return s.Err()
}

// appendOne sends one request, again while the replica has no room, and prints its answer.
func appendOne(ctx context.Context, a *app, f *appendFlags, c *client.Client, p *client.Payloads) error {
	var answer api.AppendAnswer
	for {
		var err error
		answer, err = c.Append(ctx, p, api.Wait(f.wait), f.timeout)
		var problem *client.ProblemError
		if err == nil {
			break
		}
		if !errors.As(err, &problem) || problem.RetryAfter == 0 {
			return err
		}
		a.print.Note("%s: again in %v", problem.Detail, problem.RetryAfter)
		select {
		case <-time.After(problem.RetryAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := a.print.Data(answer, func(w io.Writer) { printAppended(w, &answer) }); err != nil {
		return err
	}
	if answer.TimedOut {
		return output.OutcomeUnknown("after %v, %d of %d payloads are accepted, %d were not taken, and the places of %d are known", f.timeout, answer.Accepted, answer.Count, answer.Dropped, placed(&answer))
	}
	return nil
}

func placed(x *api.AppendAnswer) (n int) {
	for i := range x.Placed {
		n += x.Placed[i].Count
	}
	return n
}

// printAppended prints the place of each payload, in their order.
func printAppended(w io.Writer, x *api.AppendAnswer) {
	repeated := x.Repeated
	for _, p := range x.Placed {
		for i := range p.Count {
			if len(repeated) > 0 && repeated[0].Index == p.Index+i {
				r := repeated[0]
				repeated = repeated[1:]
				fmt.Fprintf(w, "%s\tits id was in the log\n", api.LogName(ledger.LogPlace{Height: r.Height, Batch: r.Batch, Position: r.Position}))
				continue
			}
			fmt.Fprintf(w, "%s\tappended\n", api.LogName(ledger.LogPlace{Height: p.Height, Batch: p.Batch, Position: p.Position + uint32(i)}))
		}
	}
	if len(x.Placed) == 0 {
		fmt.Fprintf(w, "%d of %d payloads %s\n", x.Accepted, x.Count, x.State)
	}
}
