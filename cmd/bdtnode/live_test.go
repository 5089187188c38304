package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

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
