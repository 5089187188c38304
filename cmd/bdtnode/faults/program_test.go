package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

var builtIn string // directory of the programs

// program is the ordinary program, built once.
var program = sync.OnceValues(func() (string, error) { return build("bdtnode") })

// Environment of the altered program.
const (
	syncEnv       = "FAULTS_SYNC"       // added to each sync of a store, a duration
	clockEnv      = "FAULTS_CLOCK"      // added to the wall clock, a duration
	accompliceEnv = "FAULTS_ACCOMPLICE" // if set, the replica continues when another process has signed acknowledgements with its key
)

// alteration replaces text of a source file. The file is named from the root of the module.
type alteration struct{ file, old, new string }

// altered is the program with a disk and a clock that the environment makes wrong. Every alteration must match, so that a
// change of the source cannot disable a fault.
var altered = sync.OnceValues(func() (string, error) {
	delay := func(env string) string {
		return fmt.Sprintf("func() time.Duration { d, _ := time.ParseDuration(os.Getenv(%q)); return d }()", env)
	}
	return build("bdtnode-altered",
		alteration{"node/replica/identity.go", "if c.bdt.LacksAck(x) {", fmt.Sprintf("if c.bdt.LacksAck(x) && os.Getenv(%q) == \"\" {", accompliceEnv)},
		alteration{"node/replica/identity.go", "import (\n", "import (\n\t\"os\"\n"},
		alteration{"node/engine/clock.go", "t := time.Now()", "t := time.Now().Add(" + delay(clockEnv) + ")"},
		alteration{"node/engine/clock.go", "import (\n", "import (\n\t\"os\"\n"},
		alteration{"internal/kv/failstop.go", "g.File.Sync()", "slowly(g.fs, g.File.Sync)"},
		alteration{"internal/kv/failstop.go", "g.File.SyncData()", "slowly(g.fs, g.File.SyncData)"},
		alteration{"internal/kv/failstop.go", "func (g *failStopFile) Sync() error {",
			"func slowly(fs *failStop, sync func() error) error {\n\tif fs.armed.Load() {\n\t\ttime.Sleep(" + delay(syncEnv) + ")\n\t}\n\treturn sync()\n}\n\nfunc (g *failStopFile) Sync() error {"},
		alteration{"internal/kv/failstop.go", "import (\n", "import (\n\t\"time\"\n"},
	)
})

// build builds the program with alterations.
func build(name string, changes ...alteration) (string, error) {
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(builtIn, 0o700); err != nil {
		return "", err
	}
	texts := make(map[string]string) // by path
	for _, c := range changes {
		path := filepath.Join(root, filepath.FromSlash(c.file))
		if texts[path] == "" {
			raw, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			texts[path] = string(raw)
		}
		if strings.Count(texts[path], c.old) != 1 {
			return "", fmt.Errorf("%s has %q not exactly once: adapt the alteration to the source", c.file, c.old)
		}
		texts[path] = strings.Replace(texts[path], c.old, c.new, 1)
	}
	out := filepath.Join(builtIn, name)
	args := []string{"build", "-o", out}
	if len(changes) > 0 {
		overlay := struct{ Replace map[string]string }{make(map[string]string)}
		for path, text := range texts {
			at := filepath.Join(builtIn, strings.ReplaceAll(filepath.ToSlash(path), "/", "_"))
			if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
				return "", err
			}
			overlay.Replace[path] = at
		}
		raw, err := json.Marshal(overlay)
		if err != nil {
			return "", err
		}
		list := filepath.Join(builtIn, name+".json")
		if err := os.WriteFile(list, raw, 0o600); err != nil {
			return "", err
		}
		args = append(args, "-overlay", list)
	}
	text, err := exec.Command("go", append(args, "bdtnode/cmd/bdtnode")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, text)
	}
	return out, nil
}
