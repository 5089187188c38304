package main

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Commands of other programs in the documents: go, make and curl.

// goCommand checks that the packages, tests and flags of a go command exist.
func (s *stage) goCommand(args []string) {
	t := s.t
	var dirs []string
	flags := make(map[string]string)
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case strings.HasPrefix(a, "./"):
			dir := filepath.Join(s.root, strings.TrimSuffix(a, "/..."))
			if st, err := os.Stat(dir); err != nil || !st.IsDir() {
				t.Errorf("no package %s", a)
			}
			dirs = append(dirs, dir)
		case strings.HasPrefix(a, "-"):
			flags[a] = ""
			if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") && !strings.HasPrefix(args[i+1], "./") {
				i++
				flags[a] = args[i]
			}
		default:
			t.Errorf("%q of go %v is not understood", a, args)
		}
	}
	for flag, value := range flags {
		switch flag {
		case "-v", "-race", "-o", "-timeout", "-fuzztime", "-benchtime":
		case "-run", "-fuzz", "-bench":
			first, _, _ := strings.Cut(value, "/")
			declared := regexp.MustCompile(`func ((?:Test|Fuzz|Benchmark)\w+)\(`)
			pattern, err := regexp.Compile(first)
			if err != nil {
				t.Fatal(err)
			}
			found := value == "^$"
			for _, text := range sources(t, dirs) {
				for _, m := range declared.FindAllStringSubmatch(text, -1) {
					found = found || pattern.MatchString(m[1])
				}
			}
			if !found {
				t.Errorf("no test matches %s %s", flag, value)
			}
		default:
			declared := regexp.MustCompile(`flag\.\w+\((&\w+, )?"` + regexp.QuoteMeta(flag[1:]) + `"`)
			if !slices.ContainsFunc(sources(t, []string{s.root}), declared.MatchString) {
				t.Errorf("no test has the flag %s", flag)
			}
		}
	}
}

// sources are the texts of the Go files below directories.
func sources(t *testing.T, dirs []string) (out []string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			text, err := os.ReadFile(path)
			out = append(out, string(text))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// curl makes the request of a command of curl.
func (s *stage) curl(args []string) {
	t := s.t
	client := &http.Client{Timeout: 10 * time.Second}
	method, body, address := http.MethodGet, "", ""
	header := make(http.Header)
	for i := 0; i < len(args); i++ {
		value := func() string { i++; return args[i] }
		switch a := args[i]; a {
		case "-s", "-sN":
		case "-H":
			name, text, _ := strings.Cut(value(), ": ")
			header.Set(name, text)
		case "-d":
			method, body = http.MethodPost, strings.ReplaceAll(value(), "$(cat pay.tx)", s.raw)
		case "--unix-socket":
			socket := strings.Replace(value(), "HOME", filepath.Join(s.home, "shard0-replica0"), 1)
			client.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", socketOf(socket))
			}}
		default:
			address = strings.NewReplacer("$API", s.replicas[0].API, "$LOG", s.log.intro.Replicas[0].API, "$BOB", s.bob, "1871.1", "1.1").Replace(a)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	want := http.StatusOK
	if strings.HasSuffix(address, "/txs/00") { // the document shows this error
		want = http.StatusUnprocessableEntity
	}
	if resp.StatusCode != want {
		text, _ := io.ReadAll(resp.Body)
		t.Errorf("%s %s: %s %s", method, address, resp.Status, text)
	}
	if want == http.StatusOK && !strings.Contains(address, "/events") && !strings.HasSuffix(resp.Header.Get("Content-Type"), "json") {
		t.Errorf("content type %q", resp.Header.Get("Content-Type"))
	}
	var v any
	if !strings.Contains(address, "/events") { // a stream does not end
		if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
			t.Error(err)
		}
	}
}

// socketOf is the path of a socket that may be too long for its place, see docs/debug.md.
func socketOf(path string) string {
	if text, err := os.ReadFile(strings.TrimSuffix(path, ".sock") + ".path"); err == nil {
		return strings.TrimSpace(string(text))
	}
	return path
}
