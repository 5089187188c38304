package origin

import "testing"

func TestOf(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1:1", "10.0.0.1:2", true},
		{"10.0.0.1:1", "10.0.0.2:1", false},
		{"10.0.0.1:1", "[::ffff:10.0.0.1]:1", true},
		{"[2001:db8::1]:1", "[2001:db8::ffff:1]:9", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
		{"[fe80::1%eth0]:1", "[fe80::1%eth1]:1", true},
		{"@", "pipe", true},
		{"@", "10.0.0.1:1", false},
	} {
		if got := Of(c.a) == Of(c.b); got != c.same {
			t.Errorf("%s and %s: same party %v, want %v", c.a, c.b, got, c.same)
		}
	}
}
