package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/node/api"
)

// TestAnsweringText: the line of net up has the number of replicas that answer in their shards, also if every process still
// runs, and the time without a commit while work waits.
func TestAnsweringText(t *testing.T) {
	l := &liveLine{cluster: &netup.Cluster{Replicas: make([]*netup.Replica, 8)}}
	for want, all := range map[string][]api.Status{
		"8 of 8 replicas answer":                      {{Answering: 4}, {Answering: 4, WaitingMS: 900}},
		"6 of 8 replicas answer":                      {{Answering: 2}, {Answering: 4}},
		"6 of 8 replicas answer, no commit for 7 s":   {{Answering: 2, WaitingMS: 7000}, {Answering: 4, WaitingMS: 2000}},
		"2 of 8 replicas answer, no commit for 100 s": {{Answering: 2, WaitingMS: 100_000}}, // no replica of the other shard answers
	} {
		if got := l.answeringText(all); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestFit: a line that is redrawn in place takes one row, for any characters.
func TestFit(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"height 12", 0, "height 12"},
		{"height 12", 80, "height 12"},
		{"height 12", 10, "height 12"},
		{"height 12", 9, "height …"},
		{"µµµµµµ", 7, "µµµµµµ"},
		{"µµµµµµ", 6, "µµµµ…"},
		{"height", 2, "…"},
		{"height", 1, ""},
	} {
		if got := fit(c.text, c.width); got != c.want {
			t.Errorf("%q in %d columns: %q, want %q", c.text, c.width, got, c.want)
		}
	}
	long := strings.Repeat("wäiting ", 100)
	for width := 1; width < 900; width++ {
		if n := utf8.RuneCountInString(fit(long, width)); n >= width {
			t.Fatalf("%d characters in %d columns", n, width)
		}
	}
}

// TestErase: a line drawn before the terminal became narrower is removed from all rows that it covers now.
func TestErase(t *testing.T) {
	for _, c := range []struct {
		drawn, width int
		want         string
	}{
		{79, 80, "\r\x1b[K"}, {79, 0, "\r\x1b[K"}, {79, 79, "\r\x1b[K"}, {79, 40, "\r\x1b[1A\x1b[J"}, {100, 25, "\r\x1b[3A\x1b[J"},
	} {
		if got := erase(c.drawn, c.width); got != c.want {
			t.Errorf("%d characters in %d columns: %q, want %q", c.drawn, c.width, got, c.want)
		}
	}
}
