package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"testing"
)

// Trees of packages by the kind of impurity that is forbidden in them.
var (
	// machines must behave alike on every replica and in the simulator.
	machines = []string{"protocols", "shard/settlement", "shard/xshard", "node/replica", "node/quorum", "node/admission", "node/appends", "node/why", "node/sim"}
	// timeless read no clock and use no network.
	timeless = []string{"protocols", "shard", "ledger", "merkle", "internal"}
	// diskless open no files.
	diskless = []string{"protocols", "shard/settlement", "shard/xshard", "ledger", "merkle", "internal/digest", "internal/sig", "internal/wire", "node/replica", "node/quorum", "node/admission", "node/appends", "node/why", "node/sim"}
)

// clockReads are the functions of package time whose result depends on the time of the call.
var clockReads = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// seeded are the names of math/rand/v2 that depend on a seed only. All others use the random source of the process.
var seeded = []string{"New", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "PCG", "ChaCha8", "Source", "Zipf"}

// isIn reports whether dir is in one of the trees.
func isIn(dir string, trees []string) bool {
	return slices.ContainsFunc(trees, func(t string) bool { return below(dir, t) })
}

// impurities lists the uses in a file that are forbidden in its tree.
func impurities(s *source) []string {
	var out []string
	say := func(at token.Pos, format string, args ...any) {
		out = append(out, fmt.Sprintf("%s:%d: ", s.name, files.Position(at).Line)+fmt.Sprintf(format, args...))
	}
	imports := s.imports()
	for _, spec := range s.file.Imports {
		p := spec.Path.Value[1 : len(spec.Path.Value)-1]
		switch {
		case isIn(s.dir, machines) && slices.Contains([]string{"sync", "sync/atomic"}, p):
			say(spec.Pos(), "a machine must not use locks: %s", p)
		case isIn(s.dir, []string{"protocols", "shard/settlement", "shard/xshard", "node/replica", "node/quorum", "node/admission"}) && slices.Contains([]string{"math/rand", "math/rand/v2", "crypto/rand"}, p):
			say(spec.Pos(), "a machine must not use randomness: %s", p)
		case isIn(s.dir, timeless) && slices.Contains([]string{"net", "net/http"}, p):
			say(spec.Pos(), "only cmd and node may use a network: %s", p)
		case isIn(s.dir, diskless) && slices.Contains([]string{"os", "io/ioutil", "syscall"}, p):
			say(spec.Pos(), "only the stores may access the disk: %s", p)
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.SelectorExpr:
			pkg, ok := x.X.(*ast.Ident)
			if !ok {
				break
			}
			if name, has := imports["time"]; has && pkg.Name == name && slices.Contains(clockReads, x.Sel.Name) && isIn(s.dir, append(timeless, machines...)) {
				say(x.Pos(), "time must be passed as an argument: time.%s", x.Sel.Name)
			}
			if name, has := imports["math/rand/v2"]; has && pkg.Name == name && !slices.Contains(seeded, x.Sel.Name) && isIn(s.dir, machines) {
				say(x.Pos(), "all randomness must come from the seed: rand.%s", x.Sel.Name)
			}
		case *ast.GoStmt:
			if isIn(s.dir, machines) {
				say(x.Pos(), "a machine must not start a goroutine")
			}
		case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
			if isIn(s.dir, machines) {
				say(x.Pos(), "a machine must not use channels")
			}
		case *ast.UnaryExpr:
			if x.Op == token.ARROW && isIn(s.dir, machines) {
				say(x.Pos(), "a machine must not use channels")
			}
		}
		return true
	})
	return out
}

func TestMachinesArePure(t *testing.T) {
	for _, s := range read(t) {
		if s.test {
			continue
		}
		for _, wrong := range impurities(s) {
			t.Error(wrong)
		}
	}
}

// TestImpuritiesAreFound: impurities finds forbidden uses.
func TestImpuritiesAreFound(t *testing.T) {
	for _, c := range []struct {
		file, text string
		want       int
	}{
		{"protocols/bolt/x.go", `import "time"; var x = time.Second`, 0},
		{"protocols/bolt/x.go", `import "time"; var x = time.Now()`, 1},
		{"protocols/bolt/x.go", `import clock "time"; var x = clock.Now`, 1},
		{"protocols/bolt/x.go", `func f() { go f() }`, 1},
		{"protocols/bolt/x.go", `var c chan int; func f() { c <- 1; <-c }`, 3},
		{"protocols/bolt/x.go", `func f() { select {} }`, 1},
		{"protocols/bolt/x.go", `import "sync"; var m sync.Mutex`, 1},
		{"protocols/coin/x.go", `import "crypto/rand"; var r = rand.Reader`, 1},
		{"node/sim/x.go", `import "math/rand/v2"; var r = rand.New(rand.NewPCG(1, 2))`, 0},
		{"node/sim/x.go", `import "math/rand/v2"; var n = rand.IntN(3)`, 1},
		{"ledger/x.go", `import "sync"; var m sync.Mutex`, 0},
		{"ledger/x.go", `import "time"; func f() { time.Sleep(1) }`, 1},
		{"ledger/x.go", `import "os"; var e = os.Exit`, 1},
		{"merkle/x.go", `import "net/http"; var c http.Client`, 1},
		{"node/engine/x.go", `import "time"; func f() { go time.Sleep(1) }`, 0},
	} {
		s, err := parse(c.file, []byte("package x; "+c.text))
		if err != nil {
			t.Fatal(err)
		}
		if got := impurities(s); len(got) != c.want {
			t.Errorf("%s in %s: %d impurities, want %d: %q", c.text, c.file, len(got), c.want, got)
		}
	}
}
