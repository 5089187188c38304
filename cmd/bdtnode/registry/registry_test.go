package registry

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestAddAndRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "networks")
	if l, err := List(dir); err != nil || len(l) != 0 {
		t.Fatalf("no directory: %v %v", l, err)
	}
	old, err := Add(dir, Entry{Name: "old", Network: "a", Replicas: []Replica{{API: "http://127.0.0.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	newer, err := Add(dir, Entry{Name: "new", Network: "b"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := List(dir)
	if err != nil || len(l) != 2 || l[0].Name != "new" || l[1].Replicas[0].API != "http://127.0.0.1:1" || l[0].PID != os.Getpid() {
		t.Fatalf("%+v %v", l, err)
	}
	newer.Remove()
	if l, _ := List(dir); len(l) != 1 || l[0].Name != "old" {
		t.Errorf("after removal: %+v", l)
	}
	old.Remove()
	if l, _ := os.ReadDir(dir); len(l) != 0 {
		t.Errorf("entries left: %v", l)
	}
}

// TestUpdate: an update replaces an entry atomically and keeps its start time. A concurrent reader finds the old or the
// new one, and removes neither.
func TestUpdate(t *testing.T) {
	dir := t.TempDir()
	old, err := Add(dir, Entry{Name: "old", Network: "a", Replicas: []Replica{{API: "0"}}})
	if err != nil {
		t.Fatal(err)
	}
	newer, err := Add(dir, Entry{Name: "new", Network: "b"})
	if err != nil {
		t.Fatal(err)
	}
	defer newer.Remove()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
			}
			if l, err := List(dir); err != nil || len(l) != 2 {
				t.Errorf("during the updates: %+v %v", l, err)
				return
			}
		}
	}()
	for i := range 100 {
		api := strconv.Itoa(i)
		if err := old.Update(Entry{Name: "old", Network: "a", Replicas: []Replica{{API: api}}}); err != nil {
			t.Fatal(err)
		}
		l, err := List(dir)
		if err != nil || len(l) != 2 || l[0].Name != "new" || l[1].Replicas[0].API != api {
			t.Fatalf("%+v %v", l, err)
		}
	}
	close(quit)
	<-done
	old.Remove()
	if l, _ := os.ReadDir(dir); len(l) != 1 {
		t.Errorf("files left: %v", l)
	}
}

// TestDeadProcess: an entry without a lock belongs to a process that has ended, also if its pid is in use.
func TestDeadProcess(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "1-2.json")
	os.WriteFile(path, []byte(`{"version":1,"name":"dead","pid":1}`), 0o600)
	if l, err := List(dir); err != nil || len(l) != 0 {
		t.Errorf("%+v %v", l, err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("the entry of the dead process was not removed")
	}
}

// TestPartsOfOneNetwork: List merges replicas that were started separately into one network.
func TestPartsOfOneNetwork(t *testing.T) {
	dir := t.TempDir()
	for _, e := range []Entry{
		{Network: "a", Accounts: "/k", Replicas: []Replica{{Replica: 0, API: "old"}, {Replica: 1, API: "one"}}},
		{Network: "b", Replicas: []Replica{{Replica: 0, API: "other"}}},
		{Network: "a", Replicas: []Replica{{Replica: 0, API: "new"}}},
	} {
		known, err := Add(dir, e)
		if err != nil {
			t.Fatal(err)
		}
		defer known.Remove()
	}
	l, err := List(dir)
	if err != nil || len(l) != 2 || l[0].Network != "a" || l[0].Accounts != "/k" {
		t.Fatalf("%+v %v", l, err)
	}
	if got := l[0].Replicas; len(got) != 2 || got[0].API != "new" || got[1].API != "one" {
		t.Errorf("replicas %+v", got)
	}
}
