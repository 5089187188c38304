package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/api"
)

// Outputs in documents have the shape that the commands print: the same lines, columns and words, with other numbers,
// digests and addresses.

// shown returns the output under the prompt of the first command in a document that begins with command.
func shown(t *testing.T, document, command string) []string {
	t.Helper()
	return shownIn(t, filepath.Join("..", ".."), document, command)
}

// shownIn is shown for a module in another directory.
func shownIn(t *testing.T, root, document, command string) []string {
	t.Helper()
	_, after, ok := strings.Cut(readText(t, filepath.Join(root, document)), "\n    $ "+command)
	if !ok {
		t.Fatalf("%s does not show the command %s", document, command)
	}
	var out []string
	for _, line := range strings.Split(after, "\n")[1:] {
		if line != "" && !strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "    $ ") {
			break
		}
		out = append(out, strings.TrimPrefix(line, "    "))
	}
	return trimmed(out)
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// trimmed removes empty lines at both ends.
func trimmed(lines []string) []string {
	for len(lines) > 0 && lines[0] == "" {
		lines = lines[1:]
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

var (
	columns   = regexp.MustCompile(` {2,}`)
	hexadigit = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	numbers10 = regexp.MustCompile(`[0-9]+`)
	truth     = regexp.MustCompile(`\b(true|false)\b`)
)

// shape is a line with single spaces between its columns, and with digests, truth values and numbers replaced.
func shape(line string) string {
	line = hexadigit.ReplaceAllString(strings.TrimRight(line, " "), "DIGEST")
	line = truth.ReplaceAllString(line, "TRUTH")
	return numbers10.ReplaceAllString(columns.ReplaceAllString(line, " | "), "0")
}

func shapes(lines []string) (out []string) {
	for _, line := range lines {
		out = append(out, shape(line))
	}
	return out
}

// sameShape fails unless a document's output has the shape of printed text.
func sameShape(t *testing.T, document []string, printed string) {
	t.Helper()
	got, want := shapes(document), shapes(trimmed(strings.Split(printed, "\n")))
	if !slices.Equal(got, want) {
		t.Errorf("the document shows\n%s\nand the command prints\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestREADMEShowsNetUp(t *testing.T) {
	in := introduction{}
	for i := range 8 {
		in.Replicas = append(in.Replicas, introducedReplica{uint16(i / 4), i % 4, "http://127.0.0.1:30000", 1000})
	}
	for i, name := range netup.People().Names {
		account := keystore.Account{Name: name, Address: ledger.Address(digest.Of(name))}
		in.Accounts = append(in.Accounts, introducedAccount{account, uint16(i % 2), 1_000_000})
	}
	var out bytes.Buffer
	p := output.Printer{Out: &out, Err: io.Discard}
	if err := p.Data(in, func(w io.Writer) { printIntroduction(w, in) }); err != nil {
		t.Fatal(err)
	}
	printed, _, _ := strings.Cut(out.String(), "\nTry in another terminal:")
	document := shown(t, "README.md", "go run ./cmd/bdtnode net up")
	tables := slices.Index(document, "…") + 1
	if tables != 2 || shape(document[0]) != "Starting /tmp/bdtnode-net-0" {
		t.Fatalf("net up begins with %q", document)
	}
	sameShape(t, document[tables:], printed)
}

func TestREADMEShowsAPayment(t *testing.T) {
	n := newNetwork(t, 1000)
	sent := n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "5")
	if sent.code != 0 {
		t.Fatal(sent.err)
	}
	sameShape(t, shown(t, "README.md", "./bdtnode tx send"), sent.out)

	id := ledger.TxID(digest.Of("a transaction"))
	spent := []api.PartVerdict{{Shard: 0, Verdict: "spent", Height: 1}}
	n.owners[id] = api.TxAnswer{ID: id, State: api.StateSettled, Height: 1, Certified: true, Parts: []api.Part{
		{Shard: 0, Stage: "settled", Height: 1, Verdicts: spent}, {Shard: 1, Stage: "settled", Height: 1, Verdicts: spent},
	}}
	got := n.run(t, "tx", "get", id.String())
	if got.code != 0 {
		t.Fatal(got.err)
	}
	sameShape(t, shown(t, "README.md", "./bdtnode tx get"), got.out)

	balance := n.run(t, "query", "balance", "bob")
	if balance.code != 0 {
		t.Fatal(balance.err)
	}
	sameShape(t, shown(t, "README.md", "./bdtnode query balance"), balance.out)
}

func TestREADMEShowsAKilledLeader(t *testing.T) {
	document := shown(t, "README.md", "./bdtnode net up --shards 1 --for 15s --load 100 --fault kill-leader")
	o := netup.Outage{Replicas: []*netup.Replica{{}}, Leader: true}
	printed := []string{outageText(netup.KillLeader, o), gapText(o, netup.Gap{Took: time.Second, Next: 1})}
	for _, line := range printed {
		if !slices.Contains(shapes(document), shape(line)) {
			t.Errorf("the document does not show %q", shape(line))
		}
	}
	if len(document) != len(printed)+2 { // the … and the line of the replica that is running again
		t.Errorf("%d lines: %q", len(document), document)
	}
}

// keys returns the keys of a JSON text in a document that may have … in place of parts.
func keys(lines []string) (out []string) {
	for _, m := range regexp.MustCompile(`"([a-z0-9_]+)":`).FindAllStringSubmatch(strings.Join(lines, "\n"), -1) {
		out = append(out, m[1])
	}
	return out
}

// allKeys returns the keys of an encoded value at all depths, and those of its top level.
func allKeys(t *testing.T, v any) (all, top []string) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	for k := range object {
		top = append(top, k)
	}
	return keys([]string{string(raw)}), top
}

func TestREADMEShowsTheReport(t *testing.T) {
	sameKeys(t, shown(t, "README.md", "./bdtnode net up --for 10s --load 200"), report{})
}

func TestDocsShowTheReportOfTheSimulator(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "simulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "    bdtnode sim run --seed 7 -o json\n\n")
	block, _, end := strings.Cut(after, "\n\n")
	if !ok || !end {
		t.Fatal("docs/simulator.md does not show a report")
	}
	for _, v := range []any{simResult{}, simViolation{}} {
		of := reflect.TypeOf(v)
		for i := range of.NumField() {
			key, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if !strings.Contains(block, `"`+key+`"`) {
				t.Errorf("the document does not show the key %s", key)
			}
		}
	}
}

// sameKeys fails unless a document shows all keys of a value's top level and only keys that the value has.
func sameKeys(t *testing.T, document []string, v any) {
	t.Helper()
	all, top := allKeys(t, v)
	for _, key := range keys(document) {
		if !slices.Contains(all, key) {
			t.Errorf("the document shows the key %s, which no report has", key)
		}
	}
	for _, key := range top {
		if !slices.Contains(keys(document), key) {
			t.Errorf("the document does not show the key %s", key)
		}
	}
}

// TestOtherShapesAreFound: a missing column, line or word is another shape, another number is not.
func TestOtherShapesAreFound(t *testing.T) {
	const printed = "state      settled\nblock      shard 0, height 1"
	same := []string{"state      settled\nblock      shard 1, height 22", "state  settled\nblock   shard 0, height 1"}
	other := []string{"state      settled", "state      settled\nblock      height 1", "state settled\nblock      shard 0, height 1"}
	of := func(text string) []string { return shapes(strings.Split(text, "\n")) }
	for _, text := range same {
		if !slices.Equal(of(text), of(printed)) {
			t.Errorf("%q: %q is another shape than %q", text, of(text), of(printed))
		}
	}
	for _, text := range other {
		if slices.Equal(of(text), of(printed)) {
			t.Errorf("%q has the shape %q", text, of(printed))
		}
	}
}
