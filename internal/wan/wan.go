// Package wan describes the delays of a wide-area network between replicas, for measurements on one machine and in the
// simulator. The process delays messages with them (node/p2p), and so does the simulator (node/sim).
package wan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Bounds of a matrix. A greater number is a typing error.
const (
	MaxRegions = 100
	MaxRTT     = 10 * time.Second
	MaxMbit    = 100_000
	maxFile    = 1 << 20 // bytes
)

// Forms of a specification that name no file.
const (
	uniformPrefix = "uniform:"
	AWS8Name      = "aws8"
)

// Matrix is the round trip between any two regions, and the bandwidth of each link. Replica i of every shard is in
// region i modulo the number of regions. A file of a matrix is its JSON form.
type Matrix struct {
	Regions []string    `json:"regions"`
	RTT     [][]float64 `json:"rtt_ms"`         // round trip from region to region, in milliseconds; on the diagonal: between two replicas of the region
	Mbit    float64     `json:"mbit,omitempty"` // bandwidth from each replica to each other, in 10^6 bits a second; 0: unbounded
}

// Parse reads a specification: uniform:RTT, aws8, or the path of a file. An empty one is nil: no delays.
func Parse(spec string) (*Matrix, error) {
	rtt, uniform := strings.CutPrefix(spec, uniformPrefix)
	switch {
	case spec == "":
		return nil, nil
	case spec == AWS8Name:
		return AWS8(), nil
	case uniform:
		d, err := time.ParseDuration(rtt)
		if err != nil || d <= 0 || d > MaxRTT {
			return nil, fmt.Errorf("%q is no round trip above 0 and up to %v, such as %s100ms", rtt, MaxRTT, uniformPrefix)
		}
		return Uniform(d), nil
	}
	m, err := readFile(spec)
	if err != nil {
		return nil, fmt.Errorf("%w (use %sRTT, %s or the path of a file)", err, uniformPrefix, AWS8Name)
	}
	return m, nil
}

// IsFile reports whether a specification is the path of a file.
func IsFile(spec string) bool {
	return spec != "" && spec != AWS8Name && !strings.HasPrefix(spec, uniformPrefix)
}

func readFile(path string) (*Matrix, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	m, err := Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Decode reads the JSON form of a matrix and checks it.
func Decode(raw []byte) (*Matrix, error) {
	m := new(Matrix)
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("not a matrix of delays in JSON: %w", err)
	}
	if d.More() {
		return nil, errors.New("data after the matrix of delays")
	}
	return m, m.Check()
}

// Check returns the first defect of a matrix.
func (m *Matrix) Check() error {
	n := len(m.Regions)
	if n == 0 || n > MaxRegions || len(m.RTT) != n {
		return fmt.Errorf("%d regions and %d rows of rtt_ms: use the same number, 1 to %d", n, len(m.RTT), MaxRegions)
	}
	if !(m.Mbit >= 0 && m.Mbit <= MaxMbit) {
		return fmt.Errorf("mbit is %v: use 0 to %d", m.Mbit, MaxMbit)
	}
	for i, row := range m.RTT {
		if len(row) != n {
			return fmt.Errorf("row %d of rtt_ms has %d entries for %d regions", i, len(row), n)
		}
	}
	for i, row := range m.RTT {
		for j, ms := range row {
			if !(ms >= 0 && ms <= float64(MaxRTT/time.Millisecond)) {
				return fmt.Errorf("the round trip from %s to %s is %v ms: use 0 to %d", m.Regions[i], m.Regions[j], ms, MaxRTT/time.Millisecond)
			}
			if ms != m.RTT[j][i] {
				return fmt.Errorf("the round trip from %s to %s is %v ms in one direction and %v ms in the other", m.Regions[i], m.Regions[j], ms, m.RTT[j][i])
			}
		}
	}
	return nil
}

// Region is the name of the region of replica i.
func (m *Matrix) Region(i int) string { return m.Regions[i%len(m.Regions)] }

// RoundTrip is the round trip between two different replicas of any shards, by their indexes.
func (m *Matrix) RoundTrip(i, j int) time.Duration {
	n := len(m.Regions)
	return time.Duration(m.RTT[i%n][j%n] * float64(time.Millisecond))
}

// OneWay is half of the round trip.
func (m *Matrix) OneWay(i, j int) time.Duration { return m.RoundTrip(i, j) / 2 }

// Delays are the one-way delays between n replicas of one shard. A replica has no delay to itself.
func (m *Matrix) Delays(n int) [][]time.Duration {
	out := make([][]time.Duration, n)
	for i := range n {
		out[i] = make([]time.Duration, n)
		for j := range n {
			if i != j {
				out[i][j] = m.OneWay(i, j)
			}
		}
	}
	return out
}

// Mean is the mean one-way delay between replicas of two shards of n replicas.
func (m *Matrix) Mean(n int) time.Duration {
	var sum time.Duration
	for i := range n {
		for j := range n {
			sum += m.OneWay(i, j)
		}
	}
	return sum / time.Duration(n*n)
}

// Transmission is the time for which that many bytes occupy a link, 0 without a bound.
func (m *Matrix) Transmission(size int) time.Duration {
	if m.Mbit == 0 {
		return 0
	}
	return time.Duration(float64(size) * 8 / (m.Mbit * 1e6) * float64(time.Second))
}

// Uniform is one round trip between any two replicas.
func Uniform(rtt time.Duration) *Matrix {
	return &Matrix{Regions: []string{"everywhere"}, RTT: [][]float64{{float64(rtt) / float64(time.Millisecond)}}}
}

// AWS8 is eight regions of AWS. The round trips are medians of 2017, published as "Latency Between AWS Global Regions"
// (acomputerscientistlearnsaws.blogspot.com/2017/04/aws-regions.html has the table).
func AWS8() *Matrix {
	return &Matrix{
		Regions: []string{"Virginia", "Oregon", "Ireland", "Frankfurt", "Tokyo", "Singapore", "Sydney", "São Paulo"},
		RTT: [][]float64{
			{0, 86.98, 80.55, 88.66, 145.3, 216.7, 230, 119.5},
			{86.98, 0, 137, 159.5, 89.1, 161.4, 162.2, 182.7},
			{80.55, 137, 0, 19.56, 212.4, 239, 309.6, 191.3},
			{88.66, 159.5, 19.56, 0, 236.5, 325.9, 323.5, 194.9},
			{145.3, 89.1, 212.4, 236.5, 0, 73.79, 103.9, 256.8},
			{216.7, 161.4, 239, 325.9, 73.79, 0, 175.3, 328.1},
			{230, 162.2, 309.6, 323.5, 103.9, 175.3, 0, 322.5},
			{119.5, 182.7, 191.3, 194.9, 256.8, 328.1, 322.5, 0},
		},
	}
}
