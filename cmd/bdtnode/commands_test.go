package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/api"
)

// Every command in README.md, CONTRIBUTING.md, docs/, deploy/README.md and in the help of the commands is run here, against one network. Placeholders
// stand for values of that network. Long simulations and runs are shortened. Commands with a load run on networks of their
// own, in processes beside this one; without a load, net up starts fake replicas. Commands of other programs are translated:
// curl to requests, go test and make to a check that packages, tests, flags and targets exist. Commands that change a host
// or a clone are compared with the files of the repository.

// commandLine is a command line of a document.
type commandLine struct {
	where string // the document or the help
	text  string
}

// programs begin a command in a block of a document that shows no prompt.
var programs = regexp.MustCompile(`^(\./bdtnode|bdtnode|go (test|run|build)|make|curl|git|useradd|chown|cp|systemctl|promtool|(S=\$\()?run) ?`)

// documented are the commands in the blocks of a document: the lines with a prompt, and lines that begin with a program.
func documented(document, text string) (out []commandLine) {
	schema, join := false, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		body, indented := strings.CutPrefix(line, "    ")
		switch {
		case strings.HasPrefix(line, "<!-- schema"):
			schema = true
			continue
		case !indented:
			schema, join = schema && line == "", false
			continue
		case schema:
			continue
		}
		if join {
			out[len(out)-1].text += " " + strings.TrimSpace(body)
		} else {
			command, prompt := strings.CutPrefix(body, "$ ")
			if !prompt && !programs.MatchString(body) || strings.HasPrefix(command, "run() {") {
				continue
			}
			out = append(out, commandLine{document, command})
		}
		last := &out[len(out)-1]
		last.text, join = strings.CutSuffix(last.text, `\`)
	}
	return out
}

// helped are the examples in the help of a command and of its subcommands.
func helped(c *cobra.Command) (out []commandLine) {
	for line := range strings.Lines(c.Example) {
		out = append(out, commandLine{c.CommandPath() + " --help", strings.TrimSpace(line)})
	}
	for _, sub := range c.Commands() {
		out = append(out, helped(sub)...)
	}
	return out
}

// split splits a command line as a shell does: words, quotes, and a comment at its end.
func split(line string) (words []string) {
	var word strings.Builder
	quote, begun := rune(0), false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	escaped := false
	for _, c := range line {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, begun = true, true
		case c == quote && quote != 0:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, begun = c, true
		case quote == 0 && c == ' ':
			end()
		case quote == 0 && c == '#' && !begun:
			return words
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	end()
	return words
}

// stage is the network on which commands run, and the values that replace their placeholders.
type stage struct {
	t         *testing.T  // of one command
	all       *testing.T  // of all of them
	root      string      // of the module
	home      string      // of the network
	log       *runningNet // a network that orders payloads
	replicas  []introducedReplica
	bob       string
	id, raw   string
	recording string
	spare     string // home of a replica that does not run
	done      map[string]bool
	loads     []*loadRun
}

// TestRealCommands runs every command of the documents and of the help.
func TestRealCommands(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, root)
	lines := helped(newRoot(&app{}))
	documents, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i, document := range append([]string{
		filepath.Join(root, "CONTRIBUTING.md"), filepath.Join(root, "deploy", "README.md"), filepath.Join(root, "README.md"),
	}, documents...) {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(filepath.ToSlash(document), filepath.ToSlash(root)+"/")
		found := documented(name, string(text))
		if i < 2 {
			if found = append(found, spoken(name, string(text))...); len(found) < 8 {
				t.Fatalf("only %d commands found in %s", len(found), name)
			}
		}
		lines = append(lines, found...)
	}
	if len(lines) < 120 {
		t.Fatalf("only %d commands found", len(lines))
	}
	// Commands with a load begin, and then files that other commands read are written.
	slices.SortStableFunc(lines, func(a, b commandLine) int { return order(a.text) - order(b.text) })
	for _, line := range lines {
		t.Run(line.where+" "+line.text, func(t *testing.T) {
			s.t = t
			for text := range strings.SplitSeq(line.text, " && ") {
				s.line(commandLine{line.where, text})
			}
		})
	}
	if len(s.loads) < 20 {
		t.Errorf("only %d commands with a load", len(s.loads))
	}
	for _, l := range s.loads {
		t.Run("load "+l.line.where+" "+l.line.text, l.check)
	}
}

// order is 0 for a command with a load, 1 for a command that writes a file that others read, 2 for the submission of a signed
// payment, whose inputs later payments would spend, and 4 for a load on the network of the other commands.
func order(text string) int {
	switch {
	case strings.Contains(text, "bench run --node "):
		return 4
	case strings.Contains(text, "net up") && strings.Contains(text, "--load ") || strings.Contains(text, "bench run") || strings.Contains(text, "bench sweep"):
		return 0
	case strings.Contains(text, "--out pay.tx") || strings.Contains(text, "--prove"):
		return 1
	case strings.Contains(text, "submit pay.tx"):
		return 2
	}
	return 3
}

// newStage starts the network: one replica of it has recorded its last start.
func newStage(t *testing.T, root string) *stage {
	t.Helper()
	work := t.TempDir()
	t.Chdir(work)
	t.Setenv("HOME", work)
	t.Setenv(passphraseEnv, "a passphrase")
	t.Setenv(realEnv, "1")
	s := &stage{t: t, all: t, root: root, home: filepath.Join(work, "net"), done: make(map[string]bool)}
	s.log = startNet(t, "--home", filepath.Join(work, "lognet"), "--shards", "1", "--ledger", "log")
	s.log.ready(t) // before the other network, which is the newest one then
	for range 2 {
		n := startNet(t, "--home", s.home)
		n.ready(t)
		if s.recording != "" || s.replicas != nil {
			s.replicas = n.intro.Replicas
			break
		}
		s.replicas, s.bob = n.intro.Replicas, n.intro.Accounts[1].Address.String()
		s.must("debug", "record", "--replica", "0/1", "--for", "1s")
		n.stop(t)
	}
	t.Setenv(realEnv, "")
	var paid api.TxAnswer
	s.must("tx", "send", "--from", "carol", "--to", "bob", "--amount", "5", "--out", "raw.tx", "-o", "json").json(t, &paid)
	s.id = paid.ID.String()
	raw, err := os.ReadFile("raw.tx")
	if err != nil {
		t.Fatal(err)
	}
	s.raw = strings.TrimSpace(string(raw))
	found, err := filepath.Glob(filepath.Join(s.home, "shard0-replica1", "recordings", "*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("recordings %v, %v", found, err)
	}
	s.recording = found[0]
	s.must("testnet", "generate", "--nodes", "4", "--hosts", "127.0.0.1", "--out", "spare")
	s.spare = filepath.Join(work, "spare", "shard0-replica0")
	for file, text := range map[string]string{"transfers.csv": "carol,bob,1\n", ".bdt-passphrase": "a passphrase\n", "README.md": "text\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeBenchResults(t)
	genesis, err := os.ReadFile(filepath.Join(s.home, "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("genesis.json", genesis, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) must(args ...string) result {
	s.t.Helper()
	r := bdtnode(s.t, args...)
	if r.code != 0 {
		s.t.Fatalf("%v: exit %d %s%s", args, r.code, r.out, r.err)
	}
	return r
}

// line runs one command.
func (s *stage) line(line commandLine) {
	text := strings.TrimPrefix(strings.TrimSuffix(strings.TrimSpace(line.text), "&"), "S=$(")
	if inside, of, ok := strings.Cut(text, " | jq "); ok && of != "" {
		text = regexp.MustCompile(`\$(\(\([^)]*\)\)|S)`).ReplaceAllString(inside, "100") // the rate
	}
	words := split(text)
	switch {
	case words[0] == "bdtnode" || words[0] == "./bdtnode":
		s.command(line, words[1:])
	case words[0] == "run": // the function of docs/testing.md
		s.command(line, append([]string{"net", "up", "--shards", "2", "--nodes", "4", "--cross", "0.3", "-o", "json"}, words[1:]...))
	case words[0] == "go" && words[1] == "run":
		if words[2] != "./cmd/bdtnode" {
			s.t.Errorf("no package of a program: %s", words[2])
		}
		s.command(line, words[3:])
	case words[0] == "go":
		s.goCommand(words[1:])
	case words[0] == "make":
		s.target(words[1:])
	case words[0] == "curl":
		s.curl(words[1:])
	case words[0] == "git":
		s.git(words[1:])
	case words[0] == "promtool":
		s.promtool(words[1:])
	case slices.Contains([]string{"useradd", "chown", "cp", "systemctl"}, words[0]):
		s.hostCommand(words)
	case words[0] == "cd": // into the clone
		if !slices.Equal(words, []string{"cd", "bdtnode"}) {
			s.t.Errorf("%v", words)
		}
	case words[0] == "kill": // of a replica; TestRealNetwork sends this signal
		if !slices.Equal(words, []string{"kill", "-9", "PID"}) {
			s.t.Errorf("%v", words)
		}
	default:
		s.t.Errorf("%s has a command of the program %s: translate it here", line.where, words[0])
	}
}

var (
	manySeeds  = regexp.MustCompile(`^([0-9]+)\.\.[0-9]+$`)
	recorded   = regexp.MustCompile(`^(net/shard0-replica1/)?recordings/[0-9TZ]+$`)
	localAPI   = regexp.MustCompile(`^http://127\.0\.0\.1:2670([01])$`)
	exampleIDs = regexp.MustCompile(`^([0-9a-f]{64}|ID|01ab…)$`)
)

// fill replaces the placeholders of a command.
func (s *stage) fill(args []string) []string {
	out := slices.Clone(args)
	for i, a := range args {
		before := ""
		if i > 0 {
			before = args[i-1]
		}
		switch {
		case before == "--raw":
			out[i] = s.raw
		case exampleIDs.MatchString(a):
			out[i] = s.id
		case a == "5f0c…":
			out[i] = s.bob
		case a == "CURSOR":
			var page struct {
				Older string `json:"older"`
			}
			s.must("query", "history", "carol", "--limit", "1", "-o", "json").json(s.t, &page)
			out[i] = page.Older
		case a == "HOME", a == "net/shard0-replica0" && args[0] == "start":
			out[i] = s.spare
		case recorded.MatchString(a):
			out[i] = s.recording
		case localAPI.MatchString(a):
			out[i] = s.replicas[a[len(a)-1]-'0'].API
		case a == "erin":
			out[i] = fmt.Sprintf("erin%d", len(s.done))
		case before == "--home" && strings.HasPrefix(a, "~/"):
			out[i] = fmt.Sprintf("home%d", len(s.done))
		case before == "--node" && args[0] == "bench":
			out[i] = s.replicas[0].API + "," + s.replicas[4].API // one of each shard
		case strings.HasPrefix(a, "~/"):
			out[i] = filepath.Join(os.Getenv("HOME"), a[2:])
		case before == "--consensus" && a == "C":
			out[i] = "bdt"
		case before == "--faults" && a == "NAME":
			out[i] = "crashes"
		case before == "--nodes" && a == "N":
			out[i] = "4"
		case before == "--out" && (a == "net" || a == "pay.tx" || strings.HasSuffix(a, ".gz") || strings.HasSuffix(a, ".pprof")) && a != "pay.tx":
			out[i] = fmt.Sprintf("%d-%s", len(s.done), a)
		case a == "1870" && before == "--from":
			out[i] = "1"
		}
	}
	return out
}

// shorten bounds the time that a command takes.
func shorten(args []string) []string {
	if i := slices.Index(args, ">"); i >= 0 {
		args = args[:i] // the flags that are added here stand before it
	}
	set := func(flag, value string) {
		if i := slices.Index(args, flag); i >= 0 {
			args[i+1] = value
		} else {
			args = append(args, flag, value)
		}
	}
	switch path := strings.Join(args[:min(2, len(args))], " "); path {
	case "sim run", "sim sweep":
		set("--for", "1s")
		if i := slices.Index(args, "--seeds"); i >= 0 {
			args[i+1] = manySeeds.ReplaceAllString(args[i+1], "$1..$1")
		}
	case "sim replay":
		if slices.Contains(args, "--seed") {
			set("--for", "1s")
		}
	case "net up":
		set("--for", "1s")
		if slices.Contains(args, "--fault") {
			set("--for", "10s")
			set("--fault-every", "1s")
		}
		if slices.Contains(args, "--load") {
			set("--load", "20")
		}
	case "bench run", "bench sweep":
		if i := slices.Index(args, "--over"); i >= 0 && args[i+1] == overRate {
			if j := slices.Index(args, "--rate"); j >= 0 {
				args = slices.Delete(args, j, j+2) // the first of the rates, in place of which there are values
			}
		}
		shortenBench(args, set)
	case "bench observe":
		set("--for", "1s")
	case "debug profile", "debug bundle":
		if slices.Contains(args, "cpu") {
			set("--seconds", "1s")
		} else if path == "debug bundle" {
			set("--cpu", "0s")
		}
	}
	return args
}

// untilInterrupted reports whether a command runs until it is interrupted.
func untilInterrupted(args []string) bool {
	return slices.Contains(args, "--watch") || slices.Contains(args, "--follow") ||
		args[0] == "start" || args[0] == "events" && !slices.Contains(args, "--once")
}

// command runs a command of this program.
func (s *stage) command(line commandLine, args []string) {
	t := s.t
	args = shorten(s.fill(args))
	if args[0] == "log" && (args[1] == "append" || slices.Contains(args, "--from")) {
		args = append(args, "--node", s.log.intro.Replicas[0].API)
		if i := slices.Index(args, "genesis.json"); i >= 0 {
			args[i] = filepath.Join(filepath.Dir(s.home), "lognet", "genesis.json")
		}
	}
	key := strings.Join(args, " ")
	if s.done[key] {
		return
	}
	s.done[key] = true
	switch {
	case args[0] == "start":
		s.start(args)
		return
	case underLoad(args):
		s.load(line, args)
		return
	}
	ctx := t.Context()
	if untilInterrupted(args) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 1200*time.Millisecond)
		defer cancel()
	}
	r := bdtnodeUntil(ctx, args...)
	allowed := []int{0}
	switch args[0] {
	case "status", "debug": // a busy machine may make a replica unready, or an answer late
		allowed = append(allowed, output.ExitUnhealthy)
	case "net":
		if args[1] == "status" {
			allowed = append(allowed, output.ExitUnhealthy)
		}
	}
	if !slices.Contains(allowed, r.code) {
		t.Errorf("bdtnode %s: exit %d\n%s%s", key, r.code, r.out, r.err)
	}
}

// start runs the replica of the spare home as a process, with fake replicas, and interrupts it once it has said where it
// listens.
func (s *stage) start(args []string) {
	t := s.t
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range args {
		if strings.HasSuffix(a, ":26700") {
			args[i] = "127.0.0.1:0"
		}
	}
	if !slices.Contains(args, "--api") {
		args = append(args, "--api", "127.0.0.1:0")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, args...)
	var out bytes.Buffer
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		_ = w.Close()
		ended <- err
	}()
	buf := make([]byte, 4096)
	for !strings.Contains(out.String(), "Ctrl-C stops it") {
		n, err := r.Read(buf)
		out.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, <-ended, out.String())
		}
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("%v: %v", args, err)
	}
}

// TestCommandsAreFound: commands with a prompt, without one, over two lines, and none of a schema or an output.
func TestCommandsAreFound(t *testing.T) {
	const text = "Text.\n\n    $ bdtnode status\n    state  settled\n\n    go test ./... # all\n\n    $ curl -d 'a b' \\\n        \"$API/x\"\n\n" +
		"<!-- schema: x -->\n\n    go    text\n\nText.\n\n    make ci\n"
	var got [][]string
	for _, c := range documented("x", text) {
		got = append(got, split(c.text))
	}
	want := [][]string{{"bdtnode", "status"}, {"go", "test", "./..."}, {"curl", "-d", "a b", "$API/x"}, {"make", "ci"}}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%q, want %q", got, want)
	}
}
