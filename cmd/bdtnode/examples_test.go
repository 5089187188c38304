package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// program runs a program of examples/ and returns its output.
func program(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = filepath.Join("..", "..", "examples", dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// typescript is the program that runs TypeScript, empty if this machine has no node of version 22 or later. Package
// node/client checks the same test values.
func typescript(t *testing.T) (name string, flags []string) {
	out, err := exec.CommandContext(t.Context(), "node", "--version").Output()
	major, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), ".")
	version, convErr := strconv.Atoi(major)
	if err != nil || convErr != nil || version < 22 {
		t.Logf("node %q: the TypeScript example does not run here", out)
		return "", nil
	}
	return "node", []string{"--experimental-strip-types", "--no-warnings", "pay-and-follow.ts"}
}

// TestRealExamples: the programs of examples/ build outside of this module, and pay and follow on a real network. Two
// replicas of a shard then have the same events, of a shard's common kinds, and so does a stream that continues from a
// cursor of the other replica.
func TestRealExamples(t *testing.T) {
	if apart(t) {
		return
	}
	binary := filepath.Join(t.TempDir(), "pay-and-follow")
	program(t, "pay-and-follow", "go", "build", "-o", binary, ".")
	home := filepath.Join(t.TempDir(), "net")
	n := startNet(t, "--home", home)
	n.ready(t)
	node, key := n.intro.Replicas[0].API, filepath.Join(home, "accounts", "alice.json")
	settled := regexp.MustCompile(`paid [0-9a-f]{64}\n(.*\n)*0/[0-9.]+ settlement: settled\n`)
	for i, to := range n.intro.Accounts[1:3] { // in another shard, and in the same one
		if out := program(t, "pay-and-follow", binary, "-node", node, "-key", key, "-to", to.Address.String(), "-amount", strconv.Itoa(5+i)); !settled.MatchString(out) {
			t.Errorf("the Go example printed %q", out)
		}
	}
	if name, flags := typescript(t); name != "" {
		if out := program(t, "typescript", name, append(flags, "--vector", "../vector.json")...); out != "7 values agree\n" {
			t.Errorf("the TypeScript example printed %q", out)
		}
		out := program(t, "typescript", name, append(flags, "--node", node, "--key", key, "--to", n.intro.Accounts[1].Address.String(), "--amount", "7")...)
		if !settled.MatchString(out) {
			t.Errorf("the TypeScript example printed %q", out)
		}
	}
	sameEvents(t, node, n.intro.Replicas[1].API)
	n.stop(t)
}

// sameEvents compares the events of two replicas of a shard.
func sameEvents(t *testing.T, a, b string) {
	t.Helper()
	tail := func(node string, args ...string) []string {
		r := bdtnode(t, append([]string{"events", "tail", "--once", "-o", "json", "--node", node}, args...)...)
		if r.code != 0 {
			t.Fatalf("exit %d, %s", r.code, r.err)
		}
		return strings.Split(strings.TrimSpace(r.out), "\n")
	}
	first := tail(a, "--from", "0")
	// The other replica may have executed fewer blocks, or more.
	var second []string
	for len(second) < len(first) {
		second = tail(b, "--from", "0")
	}
	for i, line := range first {
		if line != second[i] {
			t.Fatalf("event %d differs:\n%s\n%s", i, line, second[i])
		}
	}
	middle := len(first) / 2
	cursor := regexp.MustCompile(`"cursor":"([0-9./]+)"`).FindStringSubmatch(first[middle])
	if len(first) < 4 || cursor == nil {
		t.Fatalf("%d events: %q", len(first), first)
	}
	if rest := tail(b, "--from", cursor[1]); rest[0] != second[middle+1] {
		t.Errorf("after %s comes %s, want %s", cursor[1], rest[0], second[middle+1])
	}
}
