package node

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"bdtnode/node/config"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// running is a shard of four replicas of which three run in this process, so they have a quorum and one is missing.
type running struct {
	nodes []*Node
	urls  []string
}

// started starts the shard, and waits until all three are ready.
var started = sync.OnceValues(func() (*running, error) {
	dir, err := os.MkdirTemp("", "bdtnode-metrics-")
	if err != nil {
		return nil, err
	}
	cleanups = append(cleanups, func() { os.RemoveAll(dir) })
	places := make([][]config.Place, 1)
	for range 4 {
		places[0] = append(places[0], config.Place{Listen: []string{"/ip4/127.0.0.1/tcp/0"}, API: "127.0.0.1:0"})
	}
	home := filepath.Join(dir, "net")
	if _, err := config.Generate(home, config.Network{Name: "metrics", Time: time.Now(), Horizon: config.DefaultHorizon, Places: places}); err != nil {
		return nil, err
	}
	r := &running{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	cleanups = append(cleanups, func() { cancel(); wg.Wait() })
	var known []string // address of the replica before
	for i := range 3 {
		h, err := config.Load(config.HomeDir(home, 0, i), map[string]any{config.KeyBootstrap: known})
		if err != nil {
			return nil, err
		}
		n, err := Open(h)
		if err != nil {
			return nil, err
		}
		failed := make(chan error, 1)
		wg.Go(func() { failed <- n.Run(ctx) })
		select {
		case at := <-h.Published():
			r.nodes, r.urls, known = append(r.nodes, n), append(r.urls, at.API), at.P2P
		case err := <-failed:
			return nil, err
		case <-time.After(time.Minute):
			return nil, fmt.Errorf("replica %d does not start", i)
		}
	}
	for _, n := range r.nodes {
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if h := n.health(); h.obstacle() == noObstacle {
				break
			} else if time.Now().After(end) {
				return nil, fmt.Errorf("not ready: %s", h.notReady())
			}
		}
	}
	return r, nil
})

var cleanups []func()

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	for _, c := range slices.Backward(cleanups) {
		c()
	}
	os.Exit(code)
}

func shardOfThree(t *testing.T) *running {
	t.Helper()
	r, err := started()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func gathered(t *testing.T, n *Node) map[string]*dto.MetricFamily {
	t.Helper()
	all, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]*dto.MetricFamily)
	for _, f := range all {
		out[f.GetName()] = f
	}
	return out
}

// TestMetricNames: names follow Prometheus: the prefix, base units at the end, _total for counters alone.
func TestMetricNames(t *testing.T) {
	form := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	seen := make(map[string]bool)
	for _, f := range families {
		name, isTotal := strings.CutSuffix(f.name, "_total")
		if !form.MatchString(f.name) || seen[f.name] || isTotal != (f.typ == counter) {
			t.Errorf("%s is no name of a %s, or is used twice", f.name, f.typ)
		}
		seen[f.name] = true
		switch f.unit {
		case "", "seconds", "bytes":
		default:
			t.Errorf("%s: %s is no base unit", f.name, f.unit)
		}
		for _, unit := range []string{"seconds", "bytes"} {
			if strings.HasSuffix(name, "_"+unit) != (f.unit == unit) {
				t.Errorf("%s has the unit %q", f.name, f.unit)
			}
		}
		if !strings.HasSuffix(f.help, ".") {
			t.Errorf("%s: the help is no sentence: %q", f.name, f.help)
		}
		for _, l := range f.labels {
			if !slices.Contains([]string{"cause", "class", "consensus", "go", "kind", "network", "outcome", "peer", "phase", "queue", "reason", "replica", "shard", "stage", "store", "version"}, l) {
				t.Errorf("%s: label %s is not known to have few values", f.name, l)
			}
		}
	}
}

// TestMetricsAreServed: GET /metrics has every family of this program, those of libp2p, and no family twice.
func TestMetricsAreServed(t *testing.T) {
	r := shardOfThree(t)
	resp, err := http.Get(r.urls[0] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	for _, f := range families {
		if want := fmt.Sprintf("# TYPE %s%s %s\n", metricPrefix, f.name, f.typ); strings.Count(string(text), want) != 1 {
			t.Errorf("%q is not there once", want)
		}
	}
	for _, name := range []string{"libp2p_swarm_connections_opened_total", "libp2p_rcmgr_connections", "go_goroutines", "process_cpu_seconds_total"} {
		if !strings.Contains(string(text), "\n"+name) {
			t.Errorf("%s is missing", name)
		}
	}
}

// TestMetricsAreTrue: values of a shard with one missing replica.
func TestMetricsAreTrue(t *testing.T) {
	r := shardOfThree(t)
	all := gathered(t, r.nodes[0])
	at := func(name string, labels ...string) float64 {
		t.Helper()
		f := all[metricPrefix+name]
		if f == nil {
			t.Fatalf("%s is missing", name)
		}
		for _, m := range f.Metric {
			is := true
			for i, l := range m.Label {
				is = is && i < len(labels) && l.GetValue() == labels[i]
			}
			if is {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		t.Errorf("%s has no value with the labels %q", name, labels)
		return -1
	}
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"ready", nil, 1}, {"shard_replicas", nil, 4}, {"quorum_replicas", nil, 3}, {"answering_replicas", nil, 3}, {"connected_replicas", nil, 2},
		{"not_ready", []string{"no quorum"}, 0}, {"peer_answering", []string{"1"}, 1}, {"peer_answering", []string{"3"}, 0},
		{"peer_height", []string{"3"}, 0}, {"queue_limit", []string{"mempool"}, 1 << 16}, {"queue_limit_bytes", []string{"writer"}, 32 << 20},
		{"queue_used", []string{"mempool"}, 0}, {"evidence_total", nil, 0},
	} {
		if got := at(c.name, c.labels...); got != c.want {
			t.Errorf("%s%q is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	if at("round_trip_duration_seconds") < 2 || at("peer_silence_seconds", "1") > 3 || at("disk_used_bytes", "log", "consensus") <= 0 || at("disk_free_bytes") <= 0 {
		t.Error("round trips, silence or disks are not measured")
	}
	for _, m := range all[metricPrefix+"peer_silence_seconds"].Metric {
		if m.Label[0].GetValue() == "3" {
			t.Error("a replica that was never heard has a silence")
		}
	}
}

// TestEveryLabelIsBounded: no metric has a series for each transaction, block or stranger.
func TestEveryLabelIsBounded(t *testing.T) {
	r := shardOfThree(t)
	for name, f := range gathered(t, r.nodes[1]) {
		if strings.HasPrefix(name, metricPrefix) && len(f.Metric) > 40 {
			t.Errorf("%s has %d series", name, len(f.Metric))
		}
	}
}

// metricsDoc is the text of docs/metrics.md.
func metricsDoc() string {
	var b strings.Builder
	b.WriteString(metricsIntroduction)
	b.WriteString("\n| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n")
	for _, f := range families {
		unit := f.unit
		if unit == "" {
			unit = "–"
		}
		labels := "–"
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s | %s |\n", metricPrefix, f.name, f.typ, unit, labels, strings.TrimSuffix(f.help, "."))
	}
	b.WriteString(metricsStages)
	b.WriteString("\n| queue | unit | content |\n|---|---|---|\n")
	for _, q := range boundedQueues {
		unit := "places"
		if q.bytes {
			unit = "bytes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", q.name, unit, q.meaning)
	}
	b.WriteString("\n## Kinds of records\n\n| store | kind | content |\n|---|---|---|\n")
	for _, k := range diskKinds {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", k.store, k.kind, k.meaning)
	}
	b.WriteString(metricsLibraries)
	return b.String()
}

// TestMetricsAreDocumented: docs/metrics.md is the text made from the families. -update writes it.
func TestMetricsAreDocumented(t *testing.T) {
	path := filepath.Join("..", "docs", "metrics.md")
	if *update {
		if err := os.WriteFile(path, []byte(metricsDoc()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != metricsDoc() {
		t.Error("docs/metrics.md differs from the metrics: go test ./node -run MetricsAreDocumented -update")
	}
}

const metricsIntroduction = `# Metrics

` + "`GET /metrics`" + ` of each replica returns Prometheus text. All values are read at the request, except
` + "`bdtnode_disk_kind_bytes`" + `. This page is made from the source by ` + "`go test ./node -run MetricsAreDocumented -update`" + `,
and a test compares the two.

[../deploy/prometheus](../deploy/prometheus/alerts.yml) has alert rules and [../deploy/grafana](../deploy/grafana/bdtnode.json) a
dashboard; [../deploy/README.md](../deploy/README.md#monitoring) has their setup.

The label ` + "`replica`" + ` of a peer is its index in the shard of the replica that answers. No label has a value that a party outside
the genesis can choose. Counters begin at 0 with each start, except ` + "`bdtnode_transactions_ordered_total`" + `, which counts from
genesis. Histograms of durations have the bounds 0.5 ms, 1 ms, 2 ms, … 65.536 s.

## Families
`

const metricsStages = `
## Stages of a transaction

| stage | from | to | counted transactions |
|---|---|---|---|
| ` + "`admission`" + ` | the request | the mempool, the orphan pool or the refusal, for all transactions of the request | of requests to this replica |
| ` + "`batch`" + ` | the request | a batch of this replica's lane on its disk: accepted | of requests to this replica |
| ` + "`certificate`" + ` | the batch | its availability certificate, if it comes before the commit. While the fast lane is fast there is none | of this replica's batches |
| ` + "`commit`" + ` | the batch | a committed block that orders it | of this replica's batches |
| ` + "`execution`" + ` | the commit of a block whose data is held | its execution | of all lanes |
| ` + "`certification`" + ` | the execution of a block | f+1 VOTEs for its header; 0 if other replicas were faster | of all lanes |
| ` + "`final`" + ` | the request | the final receipt of this shard | of requests to this replica |
| ` + "`settlement`" + ` | the request | the outputs exist in all shards | across shards, of requests to this replica that wait for ` + "`settled`" + ` |

## Queues
`

const metricsLibraries = `
## Libraries

` + "`go_…`" + ` and ` + "`process_…`" + ` describe the runtime and the process. ` + "`libp2p_…`" + ` are the metrics of libp2p: connections
(` + "`libp2p_swarm_…`" + `), its resource manager (` + "`libp2p_rcmgr_…`" + `), identification (` + "`libp2p_identify_…`" + `) and its event bus
(` + "`libp2p_eventbus_…`" + `). Their names and labels are those of the library's version in ` + "`go.mod`" + `.
`

// BenchmarkScrape measures one answer to GET /metrics, without the connection.
func BenchmarkScrape(b *testing.B) {
	r, err := started()
	if err != nil {
		b.Fatal(err)
	}
	h := r.nodes[0].metrics()
	b.ReportAllocs()
	for b.Loop() {
		q := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		q.Header.Set("Accept-Encoding", "gzip") // as Prometheus does
		h.ServeHTTP(httptest.NewRecorder(), q)
	}
}
