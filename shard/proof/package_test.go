package proof_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bdtnode/shard/proof"
)

const module = "bdtnode"

// TestExamplesStayValid: the proofs in testdata are accepted. They are of real ledgers, and no later program may refuse
// them.
func TestExamplesStayValid(t *testing.T) {
	file, err := os.ReadFile("testdata/genesis.json")
	if err != nil {
		t.Fatal(err)
	}
	network, err := proof.ReadGenesis(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, settled := range map[string]bool{
		"inside-settled": true, "inside-rejected": false, "across-settled": true, "three-settled": true, "returned": false,
	} {
		raw, err := os.ReadFile(filepath.Join("testdata", name+".proof"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := proof.Decode(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f, err := p.Verify(network); err != nil || f.Settled != settled || !bytes.Equal(p.Encode(), raw) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// list runs go list and returns its lines.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// TestImports: the package depends on few packages of this module, on one other module and those that it needs, and on no
// network.
func TestImports(t *testing.T) {
	allowed := map[string]bool{
		"shard/proof": true, "merkle": true, "protocols": true, "protocols/certify": true,
		"internal/digest": true, "internal/sig": true, "internal/wire": true,
	}
	own := 0
	for _, path := range list(t, "-deps", module+"/shard/proof") {
		host, _, _ := strings.Cut(path, "/")
		switch dir, is := strings.CutPrefix(path, module+"/"); {
		case is:
			own++
			if !allowed[dir] {
				t.Errorf("depends on %s", path)
			}
		case path == "net" || strings.HasPrefix(path, "net/") || path == "os/exec":
			t.Errorf("depends on %s", path)
		case strings.Contains(host, ".") && !strings.HasPrefix(path, "github.com/oasisprotocol/curve25519-voi/") &&
			!strings.HasPrefix(path, "github.com/hashicorp/golang-lru/") && !strings.HasPrefix(path, "golang.org/x/"):
			t.Errorf("depends on %s", path)
		}
	}
	if own < len(allowed) {
		t.Errorf("only %d packages of the module were found", own)
	}
}

// TestShort: the package has at most 1,000 lines, comments included, so that it can be read in one sitting.
func TestShort(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(text, []byte("\n"))
	}
	if lines < 300 || lines > 1000 {
		t.Errorf("%d lines", lines)
	}
}

// TestOutsideModule: a program in a module of its own builds with the package, and checks the proofs.
func TestOutsideModule(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "verify-proof")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	build.Dir = filepath.Join("..", "..", "examples", "verify-proof")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), binary, args...)
		out, _ := cmd.CombinedOutput() // the exit code tells a failure
		return string(out), cmd.ProcessState.ExitCode()
	}
	out, code := run("testdata/genesis.json", "testdata/across-settled.proof", "testdata/returned.proof")
	if code != 0 || strings.Count(out, "settled: true, shards: 2") != 1 || strings.Count(out, "settled: false, shards: 3") != 1 {
		t.Errorf("exit %d: %s", code, out)
	}
	raw, err := os.ReadFile("testdata/across-settled.proof")
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	changed := filepath.Join(t.TempDir(), "changed.proof")
	if err := os.WriteFile(changed, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := run("testdata/genesis.json", changed); code != 8 || !strings.Contains(out, "bad proof: receipt: shard 1, block") {
		t.Errorf("a changed proof: exit %d: %s", code, out)
	}
}
