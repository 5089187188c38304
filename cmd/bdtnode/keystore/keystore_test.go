package keystore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func open4test(t *testing.T) *Store {
	s := Open(filepath.Join(t.TempDir(), "keys"))
	s.workFactor = 4 // a low cost is enough: the tests are about contents, not about the cost of guessing
	return s
}

func noPassphrase(t *testing.T) func() (string, error) {
	return func() (string, error) {
		t.Error("asked for a passphrase")
		return "", errors.New("none")
	}
}

func TestPlainAccount(t *testing.T) {
	s := open4test(t)
	made, err := s.New("alice", "")
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(s.path("alice")); st.Mode().Perm() != 0o600 {
		t.Errorf("file mode %v", st.Mode())
	}
	got, err := s.Get("alice")
	if err != nil || got.Address != made.Address || got.Encrypted {
		t.Fatalf("%+v %v", got, err)
	}
	key, err := got.Unlock(noPassphrase(t))
	if err != nil || key.Public() != made.PublicKey {
		t.Errorf("unlock: %v", err)
	}
	if _, err := s.New("alice", ""); !errors.Is(err, ErrExists) {
		t.Errorf("second alice: %v", err)
	}
	os.Chmod(s.path("alice"), 0o644)
	if _, err := s.Get("alice"); err == nil || !strings.Contains(err.Error(), "chmod 0600") {
		t.Errorf("secret key readable by all: %v", err)
	}
}

func TestEncryptedAccount(t *testing.T) {
	s := open4test(t)
	if _, err := s.New("bob", "correct horse"); err != nil {
		t.Fatal(err)
	}
	bob, err := s.Get("bob")
	if err != nil || !bob.Encrypted {
		t.Fatalf("%+v %v", bob, err)
	}
	key, err := bob.Unlock(func() (string, error) { return "correct horse", nil })
	if err != nil || key.Public() != bob.PublicKey {
		t.Fatalf("unlock: %v", err)
	}
	raw, _ := os.ReadFile(s.path("bob"))
	if seed := strings.ToLower(string(raw)); strings.Contains(seed, "\"seed\"") {
		t.Error("the file of an encrypted account contains the seed in plain text")
	}
	if _, err := bob.Unlock(func() (string, error) { return "battery", nil }); !errors.Is(err, ErrPassphrase) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if _, err := bob.Unlock(func() (string, error) { return "", nil }); !errors.Is(err, ErrPassphrase) {
		t.Errorf("empty passphrase: %v", err)
	}
}

func TestListAndNames(t *testing.T) {
	s := open4test(t)
	if l, err := s.List(); err != nil || len(l) != 0 {
		t.Errorf("no directory: %v %v", l, err)
	}
	for _, name := range []string{"carol", "alice", "b-0.x_1"} {
		if _, err := s.New(name, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "../x", "Alice", "a b", ".hid", strings.Repeat("a", 33), strings.Repeat("a", 64)} {
		if _, err := s.New(name, ""); err == nil {
			t.Errorf("name %q accepted", name)
		}
		if _, err := s.Get(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("get %q: %v", name, err)
		}
	}
	os.WriteFile(filepath.Join(s.dir, "notes.txt"), nil, 0o600)
	l, err := s.List()
	if err != nil || len(l) != 3 || l[0].Name != "alice" || l[2].Name != "carol" {
		t.Errorf("%+v %v", l, err)
	}
}

func TestDamagedFiles(t *testing.T) {
	s := open4test(t)
	s.New("a", "")
	good, _ := os.ReadFile(s.path("a"))
	s.New("b", "")
	other, _ := os.ReadFile(s.path("b"))
	seedOf := func(raw []byte) string {
		_, rest, _ := strings.Cut(string(raw), `"seed": "`)
		return rest[:64]
	}
	for name, content := range map[string]string{
		"not JSON":      "{",
		"unknown field": strings.Replace(string(good), `"kind"`, `"kind2"`, 1),
		"version":       strings.Replace(string(good), `"version": 1`, `"version": 2`, 1),
		"kind":          strings.Replace(string(good), `"account"`, `"peer"`, 1),
		"no secret":     strings.Replace(string(good), seedOf(good), "", 1),
		"address":       strings.Replace(string(good), `"address": "`, `"address": "00`, 1),
	} {
		os.WriteFile(s.path("a"), []byte(content), 0o600)
		_, err := s.Get("a")
		if err == nil || !strings.Contains(err.Error(), s.path("a")) || strings.Contains(err.Error(), seedOf(good)) {
			t.Errorf("%s: error %v must name the file and must not contain the secret", name, err)
		}
	}
	os.WriteFile(s.path("a"), []byte(strings.Replace(string(good), seedOf(good), seedOf(other), 1)), 0o600)
	a, err := s.Get("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Unlock(noPassphrase(t)); err == nil {
		t.Error("another account's seed unlocked this one")
	}
}
