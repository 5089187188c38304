package wan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "matrix.json")
	text := `{"regions": ["a", "b"], "rtt_ms": [[1, 80.5], [80.5, 0]], "mbit": 100}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]time.Duration{ // round trip between replicas 0 and 1
		"uniform:100ms": 100 * time.Millisecond,
		"uniform:1.5s":  1500 * time.Millisecond,
		"aws8":          86980 * time.Microsecond,
		file:            80500 * time.Microsecond,
	} {
		m, err := Parse(spec)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.RoundTrip(0, 1); got != want {
			t.Errorf("%s: %v from replica 0 to 1, want %v", spec, got, want)
		}
		if got := m.OneWay(1, 0); got != want/2 {
			t.Errorf("%s: %v one way, want %v", spec, got, want/2)
		}
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", spec, err)
		}
		if IsFile(spec) != (spec == file) {
			t.Errorf("%s is a file: %v", spec, IsFile(spec))
		}
	}
	if m, err := Parse(""); m != nil || err != nil {
		t.Errorf("no delays: %v, %v", m, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for spec, want := range map[string]string{
		"uniform:":                              "round trip",
		"uniform:100":                           "round trip",
		"uniform:0s":                            "round trip",
		"uniform:-1ms":                          "round trip",
		"uniform:11s":                           "up to 10s",
		"aws9":                                  "uniform:RTT, aws8 or the path of a file",
		"{}":                                    "0 regions",
		`{"regions": 1}`:                        "not a matrix",
		`{"region": ["a"]}`:                     "unknown field",
		`{"regions": ["a"], "rtt_ms": [[1]]} x`: "data after",
		`{"regions": ["a", "b"], "rtt_ms": [[1, 2]]}`:           "2 regions and 1 rows",
		`{"regions": ["a", "b"], "rtt_ms": [[1, 2], [2]]}`:      "row 1 of rtt_ms has 1 entries",
		`{"regions": ["a", "b"], "rtt_ms": [[1, 2], [3, 1]]}`:   "from a to b is 2 ms in one direction and 3 ms in the other",
		`{"regions": ["a"], "rtt_ms": [[-1]]}`:                  "from a to a is -1 ms",
		`{"regions": ["a"], "rtt_ms": [[10001]]}`:               "use 0 to 10000",
		`{"regions": ["a"], "rtt_ms": [[1]], "mbit": -1}`:       "mbit is -1",
		`{"regions": ["a"], "rtt_ms": [[1]], "mbit": 1e9}`:      "use 0 to 100000",
		`{"regions": ["` + strings.Repeat("a", maxFile) + `"]}`: "more than",
	} {
		path := spec
		if strings.HasPrefix(spec, "{") {
			path = filepath.Join(t.TempDir(), "matrix.json")
			if err := os.WriteFile(path, []byte(spec), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Parse(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", spec, err, want)
		}
	}
}

// TestPlaces: replicas beyond the number of regions begin again with the first region; the diagonal is the round trip
// inside a region, and a replica has no delay to itself.
func TestPlaces(t *testing.T) {
	m := Uniform(100 * time.Millisecond)
	d := m.Delays(4)
	for i := range d {
		for j := range d {
			want := 50 * time.Millisecond
			if i == j {
				want = 0
			}
			if d[i][j] != want {
				t.Errorf("%v from %d to %d", d[i][j], i, j)
			}
		}
	}
	if m.Mean(4) != 50*time.Millisecond {
		t.Errorf("mean %v", m.Mean(4))
	}
	eight := AWS8()
	if eight.Region(9) != "Oregon" || eight.RoundTrip(8, 9) != eight.RoundTrip(0, 1) || eight.RoundTrip(0, 8) != 0 {
		t.Error("replica 8 is not in the region of replica 0")
	}
	if eight.Transmission(1000) != 0 {
		t.Error("an unbounded link takes time")
	}
	if got := (&Matrix{Mbit: 8}).Transmission(1_000_000); got != time.Second {
		t.Errorf("10^6 bytes at 8 Mbit/s take %v", got)
	}
}

// TestLeast: with one delay between all, a transaction takes three delays at the leader and four elsewhere.
func TestLeast(t *testing.T) {
	for _, n := range []int{4, 7, 10} {
		d := Uniform(100 * time.Millisecond).Delays(n)
		for i := range n {
			want := 200 * time.Millisecond
			if i == 2 {
				want = 150 * time.Millisecond
			}
			if got := Least(d, 2, i); got != want {
				t.Errorf("%d replicas: %v at replica %d, want %v", n, got, i, want)
			}
		}
	}
}
