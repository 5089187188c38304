package admin

import (
	"strings"
	"testing"
	"time"
)

// TestWhyNotConnected: each reason has its kind and a sentence with the facts.
func TestWhyNotConnected(t *testing.T) {
	seen := map[LinkKind]bool{}
	for _, c := range []struct {
		link Link
		want LinkKind
		text string
	}{
		{Link{Connected: true, Trouble: "x"}, LinkConnected, "It is connected."},
		{Link{Banned: 3 * time.Second, Trouble: "control: malformed frame", TroubleAge: time.Second}, LinkBanned, "another 3s"},
		{Link{Banned: time.Second, Trouble: "control: malformed frame", TroubleAge: time.Second}, LinkBanned, "1s ago: control: malformed frame."},
		{Link{Optional: true}, LinkOptional, "Enough replicas"},
		{Link{Refused: true, Trouble: "the peer is in network 00aa, this node in 00bb"}, LinkOther, "compare genesis.json"},
		{Link{Stream: true}, LinkSession, "no session"},
		{Link{Failed: 3, Trouble: "no address known"}, LinkAddress, "p2p.bootstrap"},
		{Link{Addresses: 2, Failed: 3, Trouble: "connection refused"}, LinkDial, "2 known addresses"},
		{Link{Addresses: 2, Trouble: "bulk stream closed by the peer"}, LinkDial, "bulk stream closed by the peer"},
		{Link{Addresses: 1}, LinkFirst, "has not ended"},
	} {
		got := WhyNotConnected(&c.link)
		seen[got.Kind] = true
		if got.Kind != c.want || !strings.Contains(got.Text, c.text) || !strings.HasSuffix(got.Text, ".") {
			t.Errorf("%+v: %+v, want %s and %q", c.link, got, c.want, c.text)
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d kinds of 8 are tested", len(seen))
	}
}
