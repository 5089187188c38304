package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node"
	"bdtnode/node/config"
	"bdtnode/shard"
)

// TestUsageErrors: a wrong command line ends with exit code 2 before it has any effect. The error names the reason, as
// JSON with -o json.
func TestUsageErrors(t *testing.T) {
	csv := writeFile(t, "a,b\n")
	good := writeFile(t, "a,b,1\n")
	none := filepath.Join(t.TempDir(), "none")
	for line, want := range map[string]string{
		"":                              "needs one of its commands",
		"nte up":                        "unknown command",
		"net":                           "needs one of its commands: status, up",
		"net pu":                        "unknown command",
		"net up extra":                  "unknown command",
		"net up --shards 0":             "--shards 0",
		"net up --nodes 3":              "--nodes 3",
		"net up --nodes 101":            "--nodes 101",
		"net up --nodes many":           "invalid argument",
		"net up --load -1":              "--load",
		"net up --load NaN":             "--load",
		"net up --load 1 --invalid 1.5": "--invalid",
		"net up --load 1 --invalid NaN": "--invalid",
		"net up --invalid 0.5":          "--load",
		"net up --load 1 --cross 1.5":   "--cross",
		"net up --load 1 --cross NaN":   "--cross",
		"net up --cross 0.5":            "--load",
		"net up --shards 65":            "--shards 65",
		"net up --for -1s":              "--for",
		"net up --home=":                "--home",
		"net up --log-level loud":       "--log-level",
		"net up --nodes 0x4":            "not a decimal number",
		"net up --load 0x10":            "not a decimal number",
		"net up --load 1_0":             "not a decimal number",
		"net up --fault":                "needs an argument",
		"net up --fault=":               "--fault \"\" is unknown: use kill-leader, freeze-leader, freeze-followers",
		"net up --fault flood":          "use kill-leader, freeze-leader, freeze-followers",
		"net up --fault-every 8s":       "no effect without --fault",
		"net up --wan=":                 "--wan is empty",
		"net up --wan uniform:5":        "--wan",
		"net up --wan " + none:          "--wan",
		"sim run --wan aws9":            "--wan",
		"sim run --wan aws8 --delay 1s": "--delay",

		"net up --fault kill-leader --fault-every 0s":                      "--fault-every 0s",
		"net up --fault kill-leader --fault-every 999ms":                   "--fault-every 999ms",
		"net up --fault kill-leader --for 9s":                              "ends before the first fault",
		"net up --consensus dumbo --fault kill-leader --fault-every 1s":    "has no leader",
		"net up --consensus dumbo --fault freeze-leader --for 9s --load 1": "ends before the first fault",

		"bench":                                         "needs one of its commands: compare, observe, report, run, sweep",
		"bench run --rate 0":                            "--rate 0",
		"bench run --rate NaN":                          "--rate",
		"bench run --closed -1":                         "--closed -1",
		"bench run --closed 100001":                     "--closed 100001",
		"bench run --closed 5 --rate 5":                 "use one of them",
		"bench run --for 0s":                            "--for",
		"bench run --warmup -1s":                        "--warmup",
		"bench run --repeat 0":                          "--repeat 0",
		"bench run --observed 1001":                     "--observed 1001",
		"bench run --observed -1":                       "--observed -1",
		"bench observe":                                 "--node is missing",
		"bench run --inputs 0":                          "--inputs 0",
		"bench run --cross 0.5":                         "at least 2 shards",
		"bench run --invalid 2":                         "--invalid",
		"bench run --ledger log --cross 0.5 --shards 2": "--ledger log",
		"bench run --ledger log --size 2000000":         "--size 2000000",
		"bench run --size 5":                            "--size",
		"bench run --signatures none":                   "--signatures",
		"bench run --ledger stones":                     "--ledger",
		"bench run --wan aws9":                          "--wan",
		"bench run --accounts x":                        "--node",
		"bench run --node http://127.0.0.1:1 --nodes 4": "--nodes",
		"bench run --node ftp://x":                      "--node",
		"bench sweep --over colour":                     "--over",
		"bench sweep --over size":                       "--ledger log",
		"bench sweep --over nodes --nodes 4":            "--values",
		"bench sweep --over rate --rate 5 --values 5":   "--values",
		"bench sweep --over nodes --values 3":           "--nodes 3",
		"bench sweep --over rate --values 5,x":          "is no number",
		"bench sweep --over shards --node http://x":     "--over shards",
		"bench compare a":                               "accepts 2 arg",
		"bench compare " + none + " " + none:            "no such file",
		"bench report x":                                "--out",
		"bench report":                                  "requires at least 1 arg",

		"sim":                               "needs one of its commands: faults, replay, run, sweep",
		"sim run --nodes 3":                 "--nodes 3",
		"sim run --nodes=":                  "--nodes",
		"sim run --shards 0":                "--shards 0",
		"sim run --for 0s":                  "--for",
		"sim run --load NaN":                "--load",
		"sim run --delay -1s":               "--delay",
		"sim run --consensus raft":          "--consensus",
		"sim run --signatures none":         "--signatures",
		"sim run --faults rain":             "no fault is called",
		"sim run --faults loss,loss":        "named twice",
		"sim run --faults silent-to-shards": "takes 2 shards",
		"sim run --seed x":                  "invalid argument",
		"sim sweep --seeds 5..1":            "--seeds",
		"sim sweep --seeds a..b":            "--seeds",
		"sim sweep --minutes -1":            "--minutes",
		"sim sweep --workers 0":             "--workers",
		"sim sweep --keep=":                 "--keep",
		"sim replay --from 5 --to 4":        "--to 4",
		"testnet generate":                  "--hosts",
		"testnet generate --hosts a":        "--out",
		"testnet generate --out x":          "--hosts",
		"start":                             "--home",
		"start --hmoe x":                    "unknown flag",
		"status -o yaml":                    "-o",
		"status extra":                      "unknown command",
		"status --node ftp://x":             "--node",
		"tx get":                            "accepts 1 arg",
		"tx get 12":                         "transaction id",
		"tx send":                           "--from",
		"tx send --from a --to b":           "--amount",
		"tx send --amount -5":               "invalid argument",
		"tx send --amount 0x10":             "not a decimal number",
		"tx send --from=":                   "--from is empty",
		"status --node=":                    "--node is empty",
		"start --home=":                     "--home is empty",
		"start --home x --log-level all":    "--log-level \"all\" is unknown: use debug, info, warn, error",
		"start --home x --log-format x":     "--log-format \"x\" is unknown: use text, json",
		"tx send --from a --amount 5":       "--to",
		"tx send --file x --amount 5":       "--amount cannot be used with --file",
		"tx send --file x --dry-run":        "--dry-run",
		"tx send --file " + none:            "transfers",
		"tx send --file " + csv:             "line 1: 2 fields",
		"tx send --wait done --file x":      "--wait",
		"tx send --timeout 0s --file x":     "--timeout",
		"tx send --expires-in 0s":           "--expires-in",
		"tx submit":                         "--raw",
		"tx submit --raw zz":                "hexadecimal",
		"tx submit --raw 01":                "not a signed transaction",
		"tx submit --raw 01 " + good:        "--raw",
		"tx submit " + none:                 "signed transaction",
		"query":                             "needs one of its commands",
		"query balance":                     "accepts 1 arg",
		"query history alice --limit 0":     "--limit",
		"query history a --limit 100000":    "--limit",
		"keys new":                          "accepts 1 arg",
		"keys new a b":                      "accepts 1 arg",
		"keys new x --encrypt":              "passphrase",
		"keys new x --passphrase-file=":     "--passphrase-file is empty",
		"keys list --keys=":                 "--keys is empty",
		"peers":                             "needs one of its commands: list, ping, why",
		"version extra":                     "unknown command",

		"peers ping":     "accepts 1 arg",
		"peers ping 0-1": "is not a replica",
		"peers why x":    "is not a replica",
		"peers list --node http://127.0.0.1:1 --watch": "use one of them",
		"debug":                              "needs one of its commands: bundle, consensus, evidence, lanes, profile, record, settlement, why",
		"debug why":                          "accepts 1 arg",
		"debug why 12":                       "transaction id",
		"debug consensus --home " + none:     "--home",
		"debug consensus --replica 0.1":      "is not a replica",
		"debug evidence --proof -2":          "--proof",
		"debug profile":                      "accepts 1 arg",
		"debug profile blocks":               "use cpu, heap, goroutine or trace",
		"debug profile cpu --seconds 61s":    "--seconds",
		"debug profile cpu --seconds 1500ms": "whole seconds",
		"debug profile heap --seconds 1s":    "of one moment",
		"debug bundle --cpu 61s":             "--cpu",
		"debug record --for 0s":              "--for",
		"debug record --megabytes 0":         "--megabytes",
		"debug record --home " + none:        "--home",
		"sim replay --seed 7 x":              "--seed cannot be used with a recording",
		"sim replay " + none:                 "recording",
		"log":                                "needs one of its commands: append, level, tail",
		"log level loud":                     "level \"loud\" is unknown",
		"log level p2p":                      "level \"p2p\" is unknown",
		"log tail --lines -1":                "--lines",
		"debug consensus --home " + filepath.Dir(csv) + " --replica 0/1": "not the directory of a network",
	} {
		t.Run(line, func(t *testing.T) {
			args := strings.Fields(line)
			if r := bdtnode(t, args...); r.code != output.ExitUsage || !strings.Contains(r.err, want) || r.out != "" {
				t.Errorf("exit %d, out %q, error %q; want exit 2 and %q", r.code, r.out, r.err, want)
			}
			if strings.Contains(line, "-o") {
				return
			}
			r := bdtnode(t, append([]string{"-o", "json"}, args...)...)
			if code, message, _ := r.failure(t); r.code != output.ExitUsage || code != "usage" || !strings.Contains(message, want) {
				t.Errorf("JSON: exit %d, %s %q", r.code, code, message)
			}
		})
	}
}

// TestStartErrorsNameFlags: the error of a setting from a flag or the environment names the flag or variable, not
// config.toml.
func TestStartErrorsNameFlags(t *testing.T) {
	home := config.HomeDir(newHome(t, 1, 0, ""), 0, 1)
	start := func(want string, args ...string) {
		t.Helper()
		r := bdtnode(t, append([]string{"start", "--home", home}, args...)...)
		if r.code != output.ExitUsage || !strings.Contains(r.err, want) || strings.Contains(r.err, "config.toml") {
			t.Errorf("%v: exit %d, %s; want %q", args, r.code, r.err, want)
		}
	}
	start("--api: \"localhost\" is not host:port", "--api", "localhost")
	start("--listen: \"1.2.3.4\" is not a multiaddr", "--listen", "1.2.3.4")
	start("--bootstrap: ", "--bootstrap", "/ip4/1.2.3.4/tcp/5")
	t.Setenv("BDTNODE_API_ADDRESS", "localhost")
	start("BDTNODE_API_ADDRESS: \"localhost\" is not host:port")
}

// TestEnvironmentMistakes: no command runs while an unknown variable with the prefix BDTNODE_ is set. net up refuses
// variables that would give all its replicas the same address.
func TestEnvironmentMistakes(t *testing.T) {
	for name, want := range map[string]string{
		"BDTNODE_NOED":   "use BDTNODE_NODE",
		"BDTNODE_LISTEN": "use BDTNODE_P2P_LISTEN",
		"BDTNODE_API":    "use BDTNODE_API_ADDRESS",
		"BDTNODE_HOME":   "known names: BDTNODE_NODE",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "http://127.0.0.1:1")
			for _, line := range []string{"status", "start --home x", "net up --for 1s"} {
				if r := bdtnode(t, strings.Fields(line)...); r.code != output.ExitUsage || !strings.Contains(r.err, want) {
					t.Errorf("%s: exit %d, %s; want %q", line, r.code, r.err, want)
				}
			}
		})
	}
	t.Setenv("BDTNODE_API_ADDRESS", "127.0.0.1:7001")
	if r := bdtnode(t, "net", "up", "--for", "1s"); r.code != output.ExitUsage || !strings.Contains(r.err, "BDTNODE_API_ADDRESS sets the address of one replica") {
		t.Errorf("exit %d, %s", r.code, r.err)
	}
}

// TestCompletion: completion offers the words of a flag and the names of accounts. It offers files only for paths.
func TestCompletion(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	bdtnode(t, "keys", "new", "zoe", "--keys", keys)
	for line, want := range map[string]string{
		"tx send --wait ":                       "accepted ordered certified settled :4",
		"tx submit --wait ":                     "accepted ordered certified settled :4",
		"net up --fault ":                       "kill-leader freeze-leader freeze-followers :4",
		"net up --consensus ":                   "bdt dumbo :4",
		"net up --log-level ":                   "debug info warn error :4",
		"start --log-level ":                    "debug info warn error :4",
		"start --log-format ":                   "text json :4",
		"status -o ":                            "text json :4",
		"tx send --keys " + keys + " --from ":   "zoe :4",
		"query --keys " + keys + " balance ":    "zoe :4",
		"tx send --amount ":                     ":4",
		"net up --for ":                         ":4",
		"status ":                               ":4",
		"tx send --file ":                       ":0",
		"net up --home ":                        ":0",
		"keys new erin --passphrase-file ":      ":0",
		"tx submit ":                            ":0",
		"testnet generate --nodes 4 --out ":     ":0",
		"sim run --signatures ":                 "ideal real :4",
		"sim sweep --seeds 1..2 --consensus ":   "bdt dumbo any :4",
		"tx send --from a --to b --expires-in ": ":4",
	} {
		args := append([]string{cobra.ShellCompNoDescRequestCmd}, strings.Split(line, " ")...)
		r := bdtnode(t, args...)
		if got := strings.Join(strings.Fields(r.out), " "); r.code != 0 || got != want {
			t.Errorf("%q: exit %d, %q, want %q", line, r.code, got, want)
		}
	}
}

// TestCrossWithOneShard: --cross is refused for a new or resumed network with one shard.
func TestCrossWithOneShard(t *testing.T) {
	for _, args := range [][]string{{"--shards", "1"}, {"--home", newHome(t, 1, 0, "")}} {
		r := bdtnode(t, append([]string{"net", "up", "--load", "1", "--cross", "0.5"}, args...)...)
		if r.code != output.ExitUsage || !strings.Contains(r.err, "needs at least 2 shards") {
			t.Errorf("%v: %d %s", args, r.code, r.err)
		}
	}
}

// TestLeaderWithDumbo: faults of the leader are refused for a new or resumed network with consensus dumbo, which has no
// leader.
func TestLeaderWithDumbo(t *testing.T) {
	home := filepath.Join(t.TempDir(), "net")
	if err := createNet(home, &netFlags{shards: 1, nodes: 4, consensus: shard.ConsensusDumbo}); err != nil {
		t.Fatal(err)
	}
	r := bdtnode(t, "net", "up", "--home", home, "--fault", "freeze-leader")
	if r.code != output.ExitUsage || !strings.Contains(r.err, "has no leader") {
		t.Errorf("%d %s", r.code, r.err)
	}
}

func TestSuggestions(t *testing.T) {
	for line, want := range map[string]string{
		"statsu -o json":             "status",
		"nte -o json":                "net",
		"tx sned -o json":            "send",
		"net up --shrads 1 -o json":  "--shards",
		"tx send --amout 5 -o json":  "--amount",
		"tx send --expires=1 -ojson": "--expires-in",
	} {
		if _, _, hint := bdtnode(t, strings.Fields(line)...).failure(t); !strings.Contains(hint, "did you mean") || !strings.Contains(hint, want) {
			t.Errorf("%s: hint %q, want %s", line, hint, want)
		}
	}
}

// TestHelp: every command prints its help on standard output, with exit code 0.
func TestHelp(t *testing.T) {
	for _, line := range []string{"", "net up", "net status", "testnet generate", "start", "tx send", "tx submit", "tx get", "query balance", "query history", "events tail", "keys new", "keys show", "status", "peers list", "peers ping", "peers why", "debug consensus", "debug lanes", "debug settlement", "debug evidence", "debug profile", "debug bundle", "debug record", "debug why", "log level", "log tail", "sim run", "sim sweep", "sim replay", "sim faults", "version"} {
		if r := bdtnode(t, append(strings.Fields(line), "--help")...); r.code != 0 || !strings.Contains(r.out, "Usage:") || r.err != "" {
			t.Errorf("%s --help: exit %d\n%s%s", line, r.code, r.out, r.err)
		}
	}
	if r := bdtnode(t, "completion", "bash"); r.code != 0 || !strings.Contains(r.out, "bdtnode") {
		t.Errorf("completion: exit %d %s", r.code, r.err)
	}
}

// TestEveryCommandHasAnExample: the help of each command that does something has an example of this command. TestRealCommands
// runs the examples.
func TestEveryCommandHasAnExample(t *testing.T) {
	var missing func(c *cobra.Command) (found int)
	missing = func(c *cobra.Command) (found int) {
		if subs := c.Commands(); len(subs) > 0 {
			for _, sub := range subs {
				found += missing(sub)
			}
			return found
		}
		for line := range strings.Lines(c.Example) {
			if strings.HasPrefix(strings.TrimSpace(line)+" ", c.CommandPath()+" ") {
				return 1
			}
		}
		t.Errorf("%s has no example", c.CommandPath())
		return 1
	}
	if n := missing(newRoot(&app{})); n < 30 {
		t.Errorf("only %d commands found", n)
	}
}

func TestVersion(t *testing.T) {
	var v struct{ Version, Go, Platform string }
	r := bdtnode(t, "version", "-o", "json")
	r.json(t, &v)
	if r.code != 0 || v.Version != node.Version() || !strings.HasPrefix(v.Go, "go1") {
		t.Errorf("%d %+v", r.code, v)
	}
}
