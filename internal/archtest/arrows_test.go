package archtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// allowed lists, for the packages of each tree, the trees of the module that they may import. The most specific tree
// counts.
var allowed = map[string][]string{
	"examples":           {"node/client", "node/api", "shard/proof", "shard/logproof", "ledger"}, // modules of their own
	"cmd":                {"cmd", "node", "protocols", "shard", "ledger", "merkle", "internal"},
	"node":               {"node", "protocols", "shard", "ledger", "merkle", "internal"},
	"shard":              {"shard", "protocols", "ledger", "merkle", "internal"},
	"ledger":             {"ledger", "merkle", "internal"},
	"merkle":             {"merkle", "internal"},
	"internal":           {"internal"},
	"protocols":          {"protocols", "internal/wire", "internal/digest", "internal/sig"},
	"shard/proof":        {"protocols", "merkle", "internal/digest", "internal/sig", "internal/wire"}, // no network, no store, no ledger
	"shard/logproof":     {"shard/proof", "merkle", "internal/digest", "internal/sig", "internal/wire"},
	"node/config":        {"shard", "ledger", "protocols", "internal"},        // reads and writes a home on disk; does not run a node
	"node/api":           {"node/api", "node/loglimit", "ledger", "internal"}, // the interface to clients
	"node/quorum":        {"protocols"},
	"node/sim":           {"node/sim", "node/driver", "node/clients", "node/intake", "node/execution", "node/replica", "node/admission", "node/appends", "protocols", "shard", "ledger", "merkle", "internal"}, // no network
	"node/replica":       {"protocols", "shard", "ledger", "merkle", "internal"},
	"ledger/paylog":      {"ledger", "merkle", "internal"},
	"node/record":        {"node/driver", "node/clients", "node/intake", "node/execution", "node/replica", "node/admission", "protocols", "shard", "ledger", "merkle", "internal"},
	"node/execution":     {"node/replica", "protocols", "shard", "ledger", "internal"},
	"node/clients":       {"node/execution", "node/replica", "node/admission", "node/appends", "protocols", "shard", "ledger", "internal"},
	"node/intake":        {"node/execution", "node/replica", "protocols", "shard", "ledger", "internal"},
	"node/driver":        {"node/clients", "node/intake", "node/execution", "node/replica", "node/admission", "node/appends", "protocols", "shard", "ledger", "merkle", "internal"},
	"node/supervise":     {},
	"node/logring":       {},
	"node/trace":         {"protocols"},
	"node/why":           {"node/admission", "node/driver", "node/replica", "protocols", "ledger"},
	"node/admin":         {"node/admission", "node/logring", "node/replica", "node/why", "protocols", "ledger"}, // serves no network
	"node/appends":       {"node/admission", "ledger", "internal"},
	"node/admission":     {"node/replica", "protocols", "ledger", "internal"},
	"internal/digest":    {},
	"internal/wire":      {},
	"internal/sig":       {"internal/digest"},
	"node/events":        {"node/api", "ledger"},
	"node/client":        {"node/api", "shard", "ledger", "internal"}, // for programs outside of the module
	"cmd/bdtnode/load":   {"node/api", "node/client", "shard", "ledger", "internal"},
	"cmd/bdtnode/output": {"node/api", "node/client"},
}

// forbiddenArrows lists the imports of a file that its tree is not allowed.
func forbiddenArrows(s *source) []string {
	tree := ""
	for t := range allowed {
		if below(s.dir, t) && len(t) > len(tree) {
			tree = t
		}
	}
	var out []string
	if tree == "" {
		return []string{fmt.Sprintf("%s: its directory is in no tree of the table", s.name)}
	}
	for p := range s.imports() {
		dir, is := own(p)
		if !is || s.test && dir != s.dir && strings.HasPrefix(dir, "internal/") {
			continue
		}
		if !slices.ContainsFunc(allowed[tree], func(to string) bool { return below(dir, to) }) && dir != s.dir {
			out = append(out, fmt.Sprintf("%s: %s may not import %s", s.name, tree, dir))
		}
	}
	return out
}

func TestArrowsRunDown(t *testing.T) {
	for _, s := range read(t) {
		if s.test && below(s.dir, "cmd") {
			continue // tests of the program may import everything
		}
		for _, wrong := range forbiddenArrows(s) {
			t.Error(wrong)
		}
	}
}

// TestForbiddenArrowsAreFound: forbiddenArrows finds forbidden imports.
func TestForbiddenArrowsAreFound(t *testing.T) {
	for _, c := range []struct {
		file, imports string
		want          bool
	}{
		{"ledger/x.go", "bdtnode/merkle", false},
		{"ledger/x.go", "bdtnode/protocols", true},
		{"ledger/x.go", "bdtnode/shard/settlement", true},
		{"protocols/lanes/x.go", "bdtnode/protocols", false},
		{"protocols/bolt/x.go", "bdtnode/protocols/lanes", false},
		{"protocols/bdt/x.go", "bdtnode/ledger", true},
		{"protocols/bdt/x.go", "bdtnode/internal/kv", true},
		{"protocols/lanes/x.go", "bdtnode/internal/kv", true},
		{"protocols/certify/x.go", "bdtnode/shard", true},
		{"node/replica/x.go", "bdtnode/node/engine", true},
		{"node/sim/x.go", "bdtnode/node/p2p", true},
		{"node/engine/x.go", "bdtnode/cmd/bdtnode/output", true},
		{"internal/wire/x.go", "bdtnode/internal/digest", true},
		{"merkle/x.go", "bdtnode/ledger", true},
		{"shard/proof/x.go", "bdtnode/protocols/certify", false},
		{"shard/proof/x.go", "bdtnode/ledger", true},
		{"shard/proof/x.go", "bdtnode/internal/kv", true},
		{"ledger/x_test.go", "bdtnode/internal/kv", false},
		{"elsewhere/x.go", "fmt", true},
	} {
		s, err := parse(c.file, []byte("package x\n\nimport _ \""+c.imports+"\"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(forbiddenArrows(s)) > 0; got != c.want {
			t.Errorf("%s importing %s: forbidden %v, want %v", c.file, c.imports, got, c.want)
		}
	}
}
