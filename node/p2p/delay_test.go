package p2p

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"bdtnode/internal/wan"
	"bdtnode/protocols"
)

// tcpPair is a connection over the loopback.
func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	must(t, err)
	b, err = l.Accept()
	must(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func delayedPair(t *testing.T, m *wan.Matrix) (near net.Conn, far *delayed) {
	t.Helper()
	a, b := tcpPair(t)
	d := newDelayed(b, &wanLink{delay: m.OneWay(0, 1), matrix: m})
	t.Cleanup(func() { d.Close() })
	return a, d
}

// TestDelayIsPrecise: half of the messages arrive within a tenth of the delay after it, and none before it.
func TestDelayIsPrecise(t *testing.T) {
	const delay, count = 100 * time.Millisecond, 41
	near, far := delayedPair(t, wan.Uniform(2*delay))
	var sent [count]atomic.Pointer[time.Time]
	go func() {
		for i := range sent {
			now := time.Now()
			sent[i].Store(&now)
			near.Write([]byte{byte(i)})
			time.Sleep(5 * time.Millisecond)
		}
	}()
	var took []time.Duration
	one := make([]byte, 1)
	for i := range sent {
		_, err := io.ReadFull(far, one)
		must(t, err)
		if int(one[0]) != i {
			t.Fatalf("message %d in place of %d", one[0], i)
		}
		took = append(took, time.Since(*sent[i].Load()))
	}
	slices.Sort(took)
	if half := took[count/2]; took[0] < delay || half > delay*11/10 {
		t.Errorf("delays of %v to %v, half of them up to %v; want %v", took[0], took[count-1], half, delay)
	}
}

// TestDelaysOverlap: many chunks in flight together take little more than one delay, not the sum of their delays.
func TestDelaysOverlap(t *testing.T) {
	const delay, size = 200 * time.Millisecond, 16 << 20
	near, far := delayedPair(t, wan.Uniform(2*delay))
	data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	begun := time.Now()
	go near.Write(data)
	got := make([]byte, size)
	_, err := io.ReadFull(far, got)
	must(t, err)
	took := time.Since(begun)
	if !bytes.Equal(got, data) {
		t.Error("other bytes")
	}
	if one := delay * (size / delayedRead); took < delay || took > one/20 {
		t.Errorf("%d chunks took %v; one after another they take %v", size/delayedRead, took, one)
	}
}

// TestBandwidth: a link transmits no faster than its bandwidth, and the sender waits meanwhile.
func TestBandwidth(t *testing.T) {
	const size = 8 << 20
	m := &wan.Matrix{Regions: []string{"a"}, RTT: [][]float64{{20}}, Mbit: 80}
	near, far := delayedPair(t, m)
	begun := time.Now()
	wrote := make(chan time.Duration, 1)
	go func() {
		near.Write(make([]byte, size))
		wrote <- time.Since(begun)
	}()
	_, err := io.ReadFull(far, make([]byte, size))
	must(t, err)
	least := m.Transmission(size)
	if took := time.Since(begun); took < least || took > 2*least {
		t.Errorf("%d bytes took %v, want %v", size, took, least)
	}
	if w := <-wrote; w < least/4 {
		t.Errorf("the sender was done after %v: bytes beyond the bandwidth did not wait at the sender", w)
	}
}

// TestEndOfADelayedConnection: the end of a connection comes after all its bytes, and Close ends a waiting Read.
func TestEndOfADelayedConnection(t *testing.T) {
	near, far := delayedPair(t, wan.Uniform(100*time.Millisecond))
	_, err := near.Write([]byte("the last bytes"))
	must(t, err)
	near.Close()
	if got, err := io.ReadAll(far); err != nil || string(got) != "the last bytes" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}

	near, far = delayedPair(t, wan.Uniform(time.Hour))
	ended := make(chan error, 2)
	for range 2 { // one waits for bytes, the other for the delay of bytes
		go func() {
			_, err := far.Read(make([]byte, 1))
			ended <- err
		}()
	}
	_, err = near.Write([]byte("x"))
	must(t, err)
	time.Sleep(20 * time.Millisecond)
	must(t, far.Close())
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a read ended with %v", err)
		}
	}
}

// TestReplicasOverAWideAreaNetwork: the round trip between replicas is that of the matrix, and large frames do not wait
// for each other's delays.
func TestReplicasOverAWideAreaNetwork(t *testing.T) {
	const rtt = 160 * time.Millisecond
	w := newTestNetwork(t, 3)
	var nodes []*node
	for i := range 3 {
		var bootstrap []string
		if i > 0 {
			bootstrap = nodes[0].Addrs()
		}
		cfg := w.config(0, i, bootstrap...)
		cfg.WAN = wan.Uniform(rtt)
		nodes = append(nodes, start(t, cfg))
	}
	mesh(nodes...)
	ctx, cancel := testContext(t)
	defer cancel()
	for _, pair := range [][2]int{{0, 1}, {1, 2}, {2, 0}} {
		// The network delays each round trip by as much. A machine with other work adds to most of them, so the least counts.
		least := time.Hour
		for k := 0; k < 20 && least > rtt*11/10; k++ {
			d, err := nodes[pair[0]].Ping(ctx, 0, protocols.Index(pair[1]))
			must(t, err)
			least = min(least, d)
		}
		if least < rtt || least > rtt*11/10 {
			t.Errorf("least round trip of %v from replica %d to %d, want %v", least, pair[0], pair[1], rtt)
		}
	}
	const frames, size = 64, 256 << 10
	begun := time.Now()
	for range frames {
		nodes[0].Send(1, Bulk, make([]byte, size))
	}
	nodes[1].await("all frames", func() bool { return len(nodes[1].got[flow(0, Bulk)]) == frames })
	if took, one := time.Since(begun), rtt/2*(frames*size/chunk); took < rtt/2 || took > one/10 {
		t.Errorf("%d bytes took %v; chunk after chunk they take %v", frames*size, took, one)
	}
}

// TestNoDelaysOverQUIC: delays are refused where they would not be applied.
func TestNoDelaysOverQUIC(t *testing.T) {
	cfg := newTestNetwork(t, 4).config(0, 0)
	cfg.WAN, cfg.QUIC = wan.AWS8(), true
	if _, err := New(cfg); err == nil {
		t.Error("a network with QUIC and delays was accepted")
	}
}
