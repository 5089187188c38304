package node

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// The dashboard and the alert rules in deploy/ use metrics and labels that a running replica has.

// targetLabels are the labels that Prometheus joins to every metric of a target: its own, and those of
// deploy/prometheus/prometheus.yml.
var targetLabels = []string{"instance", "job", "shard", "member"}

// vocabulary are the words of queries that are neither metrics nor labels.
var vocabulary = []string{"abs", "by", "changes", "clamp_min", "count", "histogram_quantile", "increase", "max", "min", "predict_linear", "rate", "sum"}

var (
	quotedText = regexp.MustCompile(`"[^"]*"`)
	ranges     = regexp.MustCompile(`\[(\$__rate_interval|[0-9]+[smhd])\]`)
	words      = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
	selector   = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`^\s*([a-z_]+)(=|!=|=~|!~)Q\s*$`)
)

// wrongQuery lists the words of a query that are no metric, label or function, and the labels that a metric lacks.
func wrongQuery(query string, known map[string]*dto.MetricFamily) (wrong []string, metrics []string) {
	rest := ranges.ReplaceAllString(quotedText.ReplaceAllString(query, "Q"), "")
	if strings.ContainsAny(rest, "[]\"") {
		wrong = append(wrong, "a range or a text does not end")
	}
	if strings.Count(rest, "(") != strings.Count(rest, ")") {
		wrong = append(wrong, "parentheses do not match")
	}
	labelsOf := func(metric string) []string {
		labels := slices.Clone(targetLabels)
		f := known[metric]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, is := strings.CutSuffix(metric, suffix); f == nil && is && known[base].GetType() == dto.MetricType_HISTOGRAM {
				f = known[base]
				if suffix == "_bucket" {
					labels = append(labels, "le")
				}
			}
		}
		if f == nil && metric != "up" {
			wrong = append(wrong, "no metric "+metric)
			return nil
		}
		metrics = append(metrics, metric)
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName())
			}
		}
		return labels
	}
	var all []string
	for _, m := range selector.FindAllStringSubmatch(rest, -1) {
		labels := labelsOf(m[1])
		all = append(all, labels...)
		for part := range strings.SplitSeq(m[2], ",") {
			if x := matcher.FindStringSubmatch(part); x == nil || !slices.Contains(labels, x[1]) {
				wrong = append(wrong, fmt.Sprintf("%s has no label for %q", m[1], part))
			}
		}
	}
	rest = selector.ReplaceAllString(rest, "")
	groups := grouping.FindAllStringSubmatch(rest, -1)
	for _, w := range words.FindAllString(grouping.ReplaceAllString(rest, ""), -1) {
		if !slices.Contains(vocabulary, w) {
			all = append(all, labelsOf(w)...)
		}
	}
	for _, g := range groups {
		for label := range strings.SplitSeq(g[1], ",") {
			if !slices.Contains(all, strings.TrimSpace(label)) {
				wrong = append(wrong, fmt.Sprintf("no metric of the query has the label %q", label))
			}
		}
	}
	if len(metrics) == 0 {
		wrong = append(wrong, "no metric")
	}
	return wrong, metrics
}

// dashboard is the part of a dashboard of Grafana that has queries.
type dashboard struct {
	Panels []struct {
		Title, Description, Type string
		Targets                  []struct{ Expr, LegendFormat string }
	}
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func readDeploy(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "deploy", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var legendLabel = regexp.MustCompile(`\{\{ ?\$?(?:labels\.)?([a-z_]+) ?\}\}`)

func TestDashboardUsesKnownMetrics(t *testing.T) {
	known := gathered(t, shardOfThree(t).nodes[0])
	var d dashboard
	if err := json.Unmarshal([]byte(readDeploy(t, "grafana/bdtnode.json")), &d); err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	queries := 0
	for _, p := range d.Panels {
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || !strings.HasSuffix(p.Description, ".") || len(p.Targets) == 0 {
			t.Errorf("panel %q has no description or no query", p.Title)
		}
		for _, x := range p.Targets {
			queries++
			wrong, metrics := wrongQuery(x.Expr, known)
			for _, w := range wrong {
				t.Errorf("panel %q: %s: %s", p.Title, x.Expr, w)
			}
			for _, m := range metrics {
				used[m] = true
			}
			for _, l := range legendLabel.FindAllStringSubmatch(x.LegendFormat, -1) {
				if !strings.Contains(x.Expr, l[1]) && !slices.Contains(targetLabels, l[1]) && !hasLabel(known, metrics, l[1]) {
					t.Errorf("panel %q: the legend %q uses a label that the query does not give", p.Title, x.LegendFormat)
				}
			}
		}
	}
	for _, v := range d.Templating.List {
		if m := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`).FindStringSubmatch(v.Definition); v.Definition != "" && (m == nil || known[m[1]] == nil) {
			t.Errorf("variable %s: %s", v.Name, v.Definition)
		}
	}
	if queries < 30 || len(used) < 30 {
		t.Errorf("%d queries with %d metrics", queries, len(used))
	}
}

func hasLabel(known map[string]*dto.MetricFamily, metrics []string, label string) bool {
	return slices.ContainsFunc(metrics, func(name string) bool {
		for _, m := range known[name].GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label {
					return true
				}
			}
		}
		return false
	})
}

var (
	ruleExpr   = regexp.MustCompile(`(?m)^        expr: (.+)$`)
	ruleName   = regexp.MustCompile(`(?m)^      - alert: (\w+)$`)
	testSeries = regexp.MustCompile(`(?m)- series: (.+)$`)
	testedCase = regexp.MustCompile(`alertname: (\w+)(\}?\n(?:        exp_alerts:\n)?)`)
)

func TestRulesUseKnownMetrics(t *testing.T) {
	known := gathered(t, shardOfThree(t).nodes[0])
	text := readDeploy(t, "prometheus/alerts.yml")
	exprs, names := ruleExpr.FindAllStringSubmatch(text, -1), ruleName.FindAllStringSubmatch(text, -1)
	if len(exprs) != len(names) || len(names) < 15 || strings.Count(text, "summary: ") != len(names) || strings.Count(text, "action: ") != len(names) {
		t.Fatalf("%d rules with %d expressions; each needs a summary and an action", len(names), len(exprs))
	}
	alerts := make(map[string]bool)
	for i, e := range exprs {
		alerts[names[i][1]] = true
		wrong, _ := wrongQuery(e[1], known)
		for _, w := range wrong {
			t.Errorf("%s: %s: %s", names[i][1], e[1], w)
		}
	}
	if len(alerts) != len(names) {
		t.Error("two alerts have one name")
	}
	tests := readDeploy(t, "prometheus/alerts_test.yml")
	for _, s := range testSeries.FindAllStringSubmatch(tests, -1) {
		wrong, _ := wrongQuery(s[1], known)
		for _, w := range wrong {
			t.Errorf("a test of the rules has the series %s: %s", s[1], w)
		}
	}
	fires, quiet := make(map[string]bool), make(map[string]bool)
	for _, s := range testedCase.FindAllStringSubmatch(tests, -1) {
		name := s[1]
		if !alerts[name] {
			t.Errorf("the tests of the rules expect %s, which is no alert", name)
		}
		if strings.HasPrefix(s[2], "\n        exp_alerts:\n") {
			fires[name] = true
		} else {
			quiet[name] = true
		}
	}
	for name := range alerts {
		if !fires[name] || !quiet[name] {
			t.Errorf("%s: the tests of the rules need a case in which it fires and one in which it does not", name)
		}
	}
}

// TestWrongQueriesAreFound: wrongQuery finds unknown metrics, labels and words.
func TestWrongQueriesAreFound(t *testing.T) {
	known := gathered(t, shardOfThree(t).nodes[0])
	for query, wrong := range map[string]bool{
		`bdtnode_ready == 0`: false,
		`rate(bdtnode_sent_bytes_total{class="bulk",shard=~"$shard"}[$__rate_interval])`:                            false,
		`histogram_quantile(0.5, sum by (le, stage) (rate(bdtnode_transaction_stage_duration_seconds_bucket[5m])))`: false,
		`up{job="bdtnode"} == 0`:                          false,
		`bdtnode_redy == 0`:                               true,
		`btdnode_ready == 0`:                              true,
		`rate(bdtnode_sent_bytes_total{clas="bulk"}[5m])`: true,
		`sum by (clas) (bdtnode_sent_bytes_total)`:        true,
		`sum by (le) (bdtnode_ready)`:                     true,
		`bdtnode_ready_bucket`:                            true,
		`average(bdtnode_ready)`:                          true,
		`1 > 0`:                                           true,
		`rate(bdtnode_ready[5m)`:                          true,
	} {
		if got, _ := wrongQuery(query, known); (len(got) > 0) != wrong {
			t.Errorf("%s: found %q, want a finding: %v", query, got, wrong)
		}
	}
	if len(slices.Collect(maps.Keys(known))) < 60 {
		t.Error("few metrics were gathered")
	}
}
