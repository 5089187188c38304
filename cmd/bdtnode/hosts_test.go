package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Commands that change a host or a clone, in CONTRIBUTING.md and deploy/README.md. They are not carried out. Their files,
// names and options are compared with the repository, with the unit of systemd, and with the help of the program if this
// machine has it.

// inline are commands inside sentences.
var inline = regexp.MustCompile("`((?:make|go test|bdtnode) [^`\n]+)`")

// spoken are the commands in the sentences of a document.
func spoken(document, text string) (out []commandLine) {
	for _, m := range inline.FindAllStringSubmatch(text, -1) {
		out = append(out, commandLine{document, m[1]})
	}
	return out
}

// inRepository reports whether a path of the repository exists.
func (s *stage) inRepository(path string) bool {
	_, err := os.Stat(filepath.Join(s.root, filepath.FromSlash(path)))
	return err == nil
}

// git checks a command of git.
func (s *stage) git(args []string) {
	switch args[0] {
	case "clone", "diff":
	case "checkout":
		if !s.inRepository(args[1]) {
			s.t.Errorf("git checkout: no path %s", args[1])
		}
	default:
		s.t.Errorf("git %v is not understood", args)
	}
}

// setting is the value of a setting of the unit.
func (s *stage) setting(name string) string {
	text, err := os.ReadFile(filepath.Join(s.root, "deploy", "bdtnode@.service"))
	if err != nil {
		s.t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindStringSubmatch(string(text))
	if m == nil {
		s.t.Fatalf("the unit has no %s", name)
	}
	return m[1]
}

// has fails unless the help of a program has each option and command among words. It passes if this machine does not have
// the program.
func (s *stage) has(program string, words ...string) {
	if _, err := exec.LookPath(program); err != nil {
		return
	}
	help, err := exec.CommandContext(s.t.Context(), program, "--help").CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s --help: %v\n%s", program, err, help)
	}
	for _, w := range words {
		if !regexp.MustCompile(`(?m)(^|[ ,])` + regexp.QuoteMeta(w) + `\b`).Match(help) {
			s.t.Errorf("%s has no %s", program, w)
		}
	}
}

// hostCommand checks a command that an operator runs on a host.
func (s *stage) hostCommand(words []string) {
	t := s.t
	user, data := s.setting("User"), s.setting("ReadWritePaths")
	var options []string
	for _, w := range words[1:] {
		if strings.HasPrefix(w, "--") {
			options = append(options, w)
		}
	}
	last := words[len(words)-1]
	switch words[0] {
	case "useradd":
		if i := slices.Index(words, "--home-dir"); i < 0 || words[i+1] != data || last != user || s.setting("Group") != user {
			t.Errorf("%v, and the unit has user %s and directory %s", words, user, data)
		}
		s.has("useradd", options...)
	case "chown":
		if !slices.Equal(words[1:], []string{"-R", user + ":", data}) {
			t.Errorf("%v, and the unit has user %s and directory %s", words, user, data)
		}
	case "cp":
		if !s.inRepository("deploy/"+words[1]) || last != "/etc/systemd/system/" {
			t.Errorf("%v: no such file in deploy/, or not the directory of units", words)
		}
	case "systemctl":
		s.has("systemctl", append(options, words[1])...)
		if words[1] == "enable" {
			unit, instance, _ := strings.Cut(last, "@")
			_, err := os.Stat(filepath.Join("spare", instance)) // homes of testnet generate
			if !s.inRepository("deploy/"+unit+"@.service") || err != nil {
				t.Errorf("%v: there is no such unit, or no home of this name: %v", words, err)
			}
			s.unit()
		}
	}
}

// unit checks the unit: its command starts a replica, and systemd-analyze, if this machine has it, finds nothing wrong.
func (s *stage) unit() {
	t := s.t
	words := strings.Fields(s.setting("ExecStart"))
	if data := s.setting("ReadWritePaths"); words[0] != "/usr/local/bin/bdtnode" || !slices.Equal(words[1:], []string{"start", "--home", data + "/%i"}) {
		t.Fatalf("the unit runs %v", words)
	}
	s.command(commandLine{"deploy/bdtnode@.service", strings.Join(words, " ")}, []string{"start", "--home", "HOME"})
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(s.root, "deploy", "bdtnode@.service"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bdtnode@.service") // systemd-analyze requires that the program exists
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), words[0], self, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "--man=no", "verify", file).CombinedOutput()
	if err != nil || strings.Contains(string(out), "bdtnode@") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// promtool checks that the files of a command of promtool exist, and runs it if this machine has promtool.
func (s *stage) promtool(args []string) {
	t := s.t
	const dir = "deploy/prometheus"
	for _, a := range args {
		if strings.Contains(a, ".") && !s.inRepository(dir+"/"+a) {
			t.Errorf("%s has no %s", dir, a)
		}
	}
	if _, err := exec.LookPath("promtool"); err != nil {
		return
	}
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir = filepath.Join(s.root, filepath.FromSlash(dir))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

var (
	called  = regexp.MustCompile(`(?m)^\t@\.ci/run(.*)$`)
	goTests = regexp.MustCompile(`(?m)^\tgo (test|build) (.* )?\./[a-z]\S*( .*)?$`)
	ofStep  = regexp.MustCompile(`(?m)^\t"\$scratch/bdtnode" (.*)$`)
)

// target checks that targets of make exist, that .ci/run has the steps that they call, and that the commands of go and of
// this program in these steps have packages, tests and flags that exist.
func (s *stage) target(args []string) {
	text, err := os.ReadFile(filepath.Join(s.root, "Makefile"))
	if err != nil {
		s.t.Fatal(err)
	}
	makefile := string(text)
	if text, err = os.ReadFile(filepath.Join(s.root, ".ci", "run")); err != nil {
		s.t.Fatal(err)
	}
	ci := string(text)
	if len(args) == 0 {
		args = regexp.MustCompile(`(?m)^\.DEFAULT_GOAL := (.*)$`).FindStringSubmatch(makefile)[1:]
	}
	for _, a := range args {
		if strings.Contains(a, "=") {
			continue
		}
		_, recipe, ok := strings.Cut(makefile, "\n"+a+": ")
		if !ok {
			s.t.Errorf("the Makefile has no target %s", a)
			continue
		}
		recipe, _, _ = strings.Cut(recipe, "\n\n")
		m := called.FindStringSubmatch(recipe)
		if m == nil {
			continue
		}
		steps := strings.Fields(m[1])
		if len(steps) == 0 {
			steps = strings.Fields(regexp.MustCompile(`(?m)^all="(.*)"$`).FindStringSubmatch(ci)[1])
		}
		for _, name := range steps {
			s.ciStep(ci, name)
		}
	}
}

// ciStep checks a step of .ci/run.
func (s *stage) ciStep(ci, name string) {
	_, body, ok := strings.Cut(ci, "\n"+name+"() {")
	if !ok {
		s.t.Errorf(".ci/run has no step %s", name)
		return
	}
	body, _, _ = strings.Cut(body, "\n}\n")
	for _, line := range goTests.FindAllString(body, -1) {
		s.goCommand(split(strings.TrimPrefix(line, "\tgo ")))
	}
	for _, m := range ofStep.FindAllStringSubmatch(body, -1) {
		before, _, _ := strings.Cut(m[1], " >")
		root := newRoot(&app{})
		c, rest, err := root.Find(split(before))
		if err == nil {
			err = c.ParseFlags(rest)
		}
		if err == nil {
			err = c.ValidateArgs(c.Flags().Args())
		}
		if err != nil {
			s.t.Errorf("step %s of .ci/run: bdtnode %s: %v", name, before, err)
		}
	}
}

// TestContributingShowsAFailure: the change of a rule in CONTRIBUTING.md lets the test fail that it names, in an overlay of
// the source.
func TestContributingShowsAFailure(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	text := readText(t, filepath.Join(root, "CONTRIBUTING.md"))
	change := regexp.MustCompile("in `([a-z/]+\\.go)`, function `(\\w+)`, replace `([^`]+)` with\\s+`([^`]+)`").FindStringSubmatch(text)
	fails := regexp.MustCompile(`(?m)^    go test (\./[a-z/]+) +# (\w+)/(\w+) fails$`).FindStringSubmatch(text)
	if change == nil || fails == nil {
		t.Fatalf("the change is %q, the failure %q", change, fails)
	}
	file, function, from, to := filepath.Join(root, filepath.FromSlash(change[1])), change[2], change[3], change[4]
	source := readText(t, file)
	begin := regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + function + `\(`).FindStringIndex(source)
	if begin == nil || strings.Count(source, from) != 1 || strings.Index(source, from) < begin[0] {
		t.Fatalf("%s has no function %s, or %q is not there once", change[1], function, from)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, "changed.go")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{changed: strings.Replace(source, from, to, 1), filepath.Join(dir, "overlay.json"): string(overlay)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", filepath.Join(dir, "overlay.json"), "-run", fails[2], fails[1])
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--- FAIL: "+fails[2]+"/"+fails[3]+" ") {
		t.Errorf("%v\n%s", err, out)
	}
}
