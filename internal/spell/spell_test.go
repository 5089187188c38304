package spell

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"amount", "expires-in", "api_address", "p2p_listen", "node"}
	for typed, want := range map[string]string{
		"amout": "amount", "expires": "expires-in", "listen": "p2p_listen", "api": "api_address", "api_adress": "api_address",
		"noed": "node", "node": "node", "": "", "colour": "", "xyz": "",
	} {
		if got := Nearest(typed, known); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}
