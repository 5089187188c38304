package main

import (
	"encoding/json"
	"strings"
	"testing"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/api"
)

// TestEventsTail: the events so far, one a line, and the errors of the selection.
func TestEventsTail(t *testing.T) {
	n := newNetwork(t, 1000)
	for range 3 {
		if r := n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "1"); r.code != 0 {
			t.Fatal(r.err)
		}
	}
	r := n.run(t, "events", "tail", "--from", "1", "--once", "-o", "json")
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if r.code != 0 || len(lines) != 2 {
		t.Fatalf("exit %d, %q %s", r.code, lines, r.err)
	}
	var e api.Event
	if err := json.Unmarshal([]byte(lines[0]), &e); err != nil || e.Kind != api.EventBlock || e.Height != 2 || e.Cursor != "0/2.0" {
		t.Errorf("%+v, %v", e, err)
	}
	again := n.run(t, "events", "tail", "--from", e.Cursor, "--once", "--kind", "block")
	if again.code != 0 || strings.Count(again.out, "\n") != 1 || !strings.HasPrefix(again.out, "0/3.0 ") {
		t.Errorf("exit %d, %q %s", again.code, again.out, again.err)
	}
	for line, want := range map[string]string{
		"--kind foo":           `--kind "foo" is unknown`,
		"--shard 1":            "shards 0 to 0",
		"--from x/1":           "not a cursor",
		"--from 1/1":           "events are those of shard 1",
		"--from= --once":       "--from is empty",
		"--shard 0 --from 1/7": "follow each shard by itself",
	} {
		if r := n.run(t, append([]string{"events", "tail"}, strings.Fields(line)...)...); r.code != output.ExitUsage || !strings.Contains(r.err, want) {
			t.Errorf("%s: exit %d, %s; want %q", line, r.code, r.err, want)
		}
	}
	if r := n.run(t, "events", "tail", "--kind", "transaction", "--once"); r.code != output.ExitFailure || !strings.Contains(r.err, "needs an account") {
		t.Errorf("without an account: exit %d, %s", r.code, r.err)
	}
}
