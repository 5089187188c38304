package api

import (
	"net/netip"
	"testing"
)

// One address alone gets three quarters of the places, several addresses get equal shares, and a new address always
// finds a place.
func TestSharesOfTheIntake(t *testing.T) {
	in := newIntake(100, 1000, 10)
	enter := func(client string) (n int) {
		for in.enter(netip.MustParsePrefix(client+"/32")) != nil {
			n++
		}
		return n
	}
	if a, b, c := enter("10.0.0.1"), enter("10.0.0.2"), enter("10.0.0.3"); a != 75 || b != 18 || c < 1 {
		t.Errorf("places %d, %d and %d", a, b, c)
	}
}

// Places and bytes are released, and a body of the largest size always has space next to one other.
func TestIntakeReleases(t *testing.T) {
	in := newIntake(4, 20, 10)
	a, b := netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.2/32")
	x, y := in.enter(a), in.enter(b)
	if !x.grow(10) || x.grow(6) || !y.grow(10) || y.grow(1) {
		t.Error("space for two bodies of the largest size was refused")
	}
	x.leave()
	y.leave()
	if in.slots.Free() != 4 || in.bytes.Free() != 20 || in.slots.Parties()+in.bytes.Parties() != 0 {
		t.Errorf("not released: %+v", in)
	}
}
