package netup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"bdtnode/internal/wan"
	"bdtnode/node/admin"
)

// Measurement of the links of a network with delays.
const (
	pings        = 5  // round trips of each link; the median counts
	pingers      = 32 // links measured at a time
	measurements = 3  // until all links are as wanted: a busy moment delays some
	measurePause = time.Second
	offBy        = 0.1 // share by which a round trip may differ from the matrix
)

// Link is the measured round trip between two replicas.
type Link struct {
	From, To *Replica
	Want     time.Duration // by the matrix
	Got      time.Duration // median of some round trips
}

// Off is the share by which a round trip differs from the matrix. A link without a delay has none.
func (l *Link) Off() float64 {
	if l.Want == 0 {
		return 0
	}
	return math.Abs(float64(l.Got-l.Want)) / float64(l.Want)
}

// Links measures the round trips between all replicas, on their connections, and compares them with a matrix. The error
// names the link that differs most if one differs by more than a tenth. Two replicas of different shards without a
// connection to each other are left out.
func (c *Cluster) Links(ctx context.Context, m *wan.Matrix) ([]Link, error) {
	for try := 1; ; try++ {
		links, err := c.measureLinks(ctx, m)
		if err == nil {
			err = refuse(links)
		}
		if err == nil {
			return links, nil
		}
		if try == measurements || !sleep(ctx, measurePause) {
			return nil, err
		}
	}
}

// refuse returns an error if a link differs too much from the matrix.
func refuse(links []Link) error {
	worst := links[0]
	for _, l := range links {
		if l.Off() > worst.Off() {
			worst = l
		}
	}
	if worst.Off() <= offBy {
		return nil
	}
	return fmt.Errorf("the round trip from %s to %s takes %.1f ms in place of %.1f ms: this machine is too slow or too busy for these delays",
		worst.From.Name(), worst.To.Name(), worst.Got.Seconds()*1000, worst.Want.Seconds()*1000)
}

// measureLinks measures each pair of replicas once.
func (c *Cluster) measureLinks(ctx context.Context, m *wan.Matrix) ([]Link, error) {
	var mu sync.Mutex
	var links []Link
	var failed error
	var work sync.WaitGroup
	places := make(chan struct{}, pingers)
	for i, from := range c.Replicas {
		for _, to := range c.Replicas[i+1:] {
			work.Go(func() {
				places <- struct{}{}
				defer func() { <-places }()
				got, err := roundTrip(ctx, from, to)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					links = append(links, Link{from, to, m.RoundTrip(from.Index, to.Index), got})
				case from.Shard == to.Shard:
					failed = errors.Join(failed, err)
				}
			})
		}
	}
	work.Wait()
	if failed == nil && len(links) == 0 {
		failed = errors.New("no link between replicas was measured")
	}
	return links, failed
}

// roundTrip is the median of some round trips from one replica to another.
func roundTrip(ctx context.Context, from, to *Replica) (time.Duration, error) {
	cl, err := admin.Dial(from.Home)
	if err != nil {
		return 0, fmt.Errorf("measure the link from %s to %s: %w", from.Name(), to.Name(), err)
	}
	var took []time.Duration
	for range pings {
		var p admin.Ping
		if err := cl.Post(ctx, fmt.Sprintf("/v1/peers/%d/%d/ping", to.Shard, to.Index), nil, &p); err != nil {
			return 0, fmt.Errorf("measure the link from %s to %s: %w", from.Name(), to.Name(), err)
		}
		if p.Error != "" {
			return 0, fmt.Errorf("measure the link from %s to %s: %s", from.Name(), to.Name(), p.Error)
		}
		took = append(took, time.Duration(p.RTTMicros)*time.Microsecond)
	}
	slices.Sort(took)
	return took[pings/2], nil
}
