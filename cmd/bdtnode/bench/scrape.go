package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	scrapeTime = 5 * time.Second
	maxMetrics = 4 << 20 // bytes of the metrics of a replica
)

// usage is the use of resources by a replica since its start, as its metrics show it.
type usage struct {
	cpuSeconds float64
	resident   uint64
	heap       uint64
	disk       uint64
	syncs      uint64
	sent       uint64
}

// add adds a value of a family of metrics: a field is the sum over the labels of its families.
func (u *usage) add(name string, value float64) {
	switch name {
	case "process_cpu_seconds_total":
		u.cpuSeconds += value
	case "process_resident_memory_bytes":
		u.resident += uint64(value)
	case "go_memstats_heap_alloc_bytes":
		u.heap += uint64(value)
	case "bdtnode_disk_used_bytes":
		u.disk += uint64(value)
	case "bdtnode_disk_syncs_total":
		u.syncs += uint64(value)
	case "bdtnode_sent_bytes_total", "bdtnode_gossip_published_bytes_total":
		u.sent += uint64(value)
	}
}

// scrape reads the metrics of the replica whose API has this base URL.
func scrape(ctx context.Context, url string) (*usage, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s/metrics: status %d", url, res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxMetrics)) // whole: the end of a body that breaks off is no value
	if err != nil {
		return nil, err
	}
	return readMetrics(bytes.NewReader(body))
}

// readMetrics reads the text of metrics: a name, labels in braces or none, and a value in each line.
func readMetrics(from io.Reader) (*usage, error) {
	u := new(usage)
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxMetrics)
	found := 0
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		name := line[:strings.IndexAny(line+" ", "{ ")]
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %q is no number", line)
		}
		u.add(name, value)
		found++
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	if found == 0 {
		return nil, errors.New("metrics: no values")
	}
	return u, nil
}
