package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/api"
	"bdtnode/node/client"
	"bdtnode/shard/proof"
)

// payloadFlags are the flags of log tail for the payloads of a log.
type payloadFlags struct {
	from      string
	certified bool
	genesis   string
	raw       bool
}

// tailPayloads prints the payloads of a log from a place on.
func tailPayloads(ctx context.Context, a *app, f *payloadFlags, follow bool) error {
	q := client.LogQuery{From: f.from, Certified: f.certified}
	if _, err := api.ParseLogName(f.from); err != nil {
		return output.Usage("--from: %v", err)
	}
	if f.genesis != "" {
		raw, err := readBounded(f.genesis, proof.MaxGenesisBytes)
		if err != nil {
			return output.Usage("genesis: %v", err)
		}
		if q.Network, err = proof.ReadGenesis(raw); err != nil {
			return output.Usage("%s: %v", f.genesis, err)
		}
	}
	c, err := connectLog(ctx, a)
	if err != nil {
		return err
	}
	q.Gap = func(g api.LogGap) error {
		return a.print.Data(api.LogEvent{Gap: &g}, func(w io.Writer) { fmt.Fprintf(w, "# blocks %d to %d are missing: %s\n", g.From, g.To, g.Reason) })
	}
	read := c.ReadLog
	if follow {
		read = c.FollowLog
	}
	cursor, err := read(ctx, q, func(e client.LogEntry) error { return printPayload(a, f, &e) })
	if follow && ctx.Err() != nil {
		err = nil // Ctrl-C is the normal end
	}
	if err == nil && !a.print.JSON {
		a.print.Note("continue with: bdtnode log tail --from %s", cursor)
	}
	return err
}

// printedPayload is a payload in the output of log tail.
type printedPayload struct {
	Name    string `json:"name"`
	Next    string `json:"next"`
	TimeMS  uint64 `json:"time_ms"`
	ID      string `json:"id,omitempty"`
	Payload []byte `json:"payload"` // base64
}

func printPayload(a *app, f *payloadFlags, e *client.LogEntry) error {
	if f.raw {
		_, err := a.print.Out.Write(append(e.Payload[:len(e.Payload):len(e.Payload)], '\n'))
		return err
	}
	x := printedPayload{Name: e.Name(), Next: e.Next(), TimeMS: e.TimeMS, ID: hex.EncodeToString(e.ID), Payload: e.Payload}
	return a.print.Data(x, func(w io.Writer) {
		at := time.UnixMilli(int64(min(e.TimeMS, 1<<53))).UTC().Format("15:04:05.000")
		fmt.Fprintf(w, "%-12s %s %s\n", x.Name, at, payloadText(e.Payload))
	})
}

// payloadText is a payload as one line: its text if it has no control characters, else base64.
func payloadText(p []byte) string {
	text := string(p)
	if utf8.ValidString(text) {
		printable := true
		for _, c := range text {
			printable = printable && c >= ' ' && c != 0x7f && (c < 0x80 || c > 0x9f)
		}
		if printable {
			return text
		}
	}
	return "base64:" + base64.StdEncoding.EncodeToString(p)
}
