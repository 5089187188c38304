package shard

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/protocols/coin"
)

// sample returns a valid genesis with the given number of shards and of replicas in each.
func sample(shards, replicas int) *Genesis {
	g := &Genesis{
		Version: GenesisVersion, Name: "test", TimeMS: 1_700_000_000_000, Consensus: ConsensusBDT, HorizonMS: 900_000,
		Parameters:  DefaultParameters(),
		Allocations: []Allocation{{Address: ledger.Address{1}, Amount: 10, Outputs: 3}, {Address: ledger.Address{0xff}, Amount: 7, Outputs: 2}},
	}
	for s := range shards {
		var spec Spec
		for i := range replicas {
			spec.Members = append(spec.Members, Member{Key: sig.PublicKey{byte(s + 1), byte(i)}, Peer: strings.Repeat("p", s+1) + string(rune('a'+i))})
		}
		random := rand.NewChaCha8([32]byte{byte(s)})
		if public, _, err := coin.Deal(random, replicas, (replicas-1)/3+1); err == nil {
			for i := range public {
				spec.Members[i].Coin = public[i]
			}
		}
		g.Shards = append(g.Shards, spec)
	}
	return g
}

func TestSampleIsValid(t *testing.T) {
	if err := sample(3, 4).Validate(); err != nil {
		t.Fatal(err)
	}
}

// TestIDCoversAllFields: a genesis that differs in any field has another id, so replicas that disagree are in
// different networks.
func TestIDCoversAllFields(t *testing.T) {
	seen := map[digest.Digest]string{sample(2, 4).ID(): "the sample"}
	for name, change := range map[string]func(*Genesis){
		"version":            func(g *Genesis) { g.Version++ },
		"name":               func(g *Genesis) { g.Name = "tesu" },
		"time":               func(g *Genesis) { g.TimeMS++ },
		"consensus":          func(g *Genesis) { g.Consensus = "bdu" },
		"horizon":            func(g *Genesis) { g.HorizonMS++ },
		"least fee":          func(g *Genesis) { g.Parameters.LeastFee++ },
		"state interval":     func(g *Genesis) { g.Parameters.StateInterval++ },
		"retain":             func(g *Genesis) { g.Parameters.Retain++ },
		"signatures":         func(g *Genesis) { g.Parameters.Signatures = "ack" },
		"ledger":             func(g *Genesis) { g.Parameters.Ledger = "blobs" },
		"protocol version":   func(g *Genesis) { g.Parameters.ProtocolVersion++ },
		"window":             func(g *Genesis) { g.Parameters.Window++ },
		"key":                func(g *Genesis) { g.Shards[1].Members[3].Key[31] = 1 },
		"peer id":            func(g *Genesis) { g.Shards[0].Members[0].Peer += "x" },
		"coin key":           func(g *Genesis) { g.Shards[0].Members[0].Coin[3] ^= 1 },
		"order of replicas":  func(g *Genesis) { m := g.Shards[0].Members; m[0], m[1] = m[1], m[0] },
		"order of shards":    func(g *Genesis) { g.Shards[0], g.Shards[1] = g.Shards[1], g.Shards[0] },
		"one replica less":   func(g *Genesis) { g.Shards[1].Members = g.Shards[1].Members[:3] },
		"one shard less":     func(g *Genesis) { g.Shards = g.Shards[:1] },
		"amount":             func(g *Genesis) { g.Allocations[0].Amount++ },
		"number of outputs":  func(g *Genesis) { g.Allocations[1].Outputs++ },
		"address":            func(g *Genesis) { g.Allocations[0].Address[31] = 1 },
		"allocation missing": func(g *Genesis) { g.Allocations = g.Allocations[:1] },
	} {
		g := sample(2, 4)
		change(g)
		if before, dup := seen[g.ID()]; dup {
			t.Errorf("with another %s, the id is that of %s", name, before)
		}
		seen[g.ID()] = name
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Genesis)
		says   string
	}{
		"an older version":     {func(g *Genesis) { g.Version = 1 }, "version 1, this program reads version 2"},
		"a newer version":      {func(g *Genesis) { g.Version = 3 }, "version 3, this program reads version 2"},
		"a fee too large":      {func(g *Genesis) { g.Parameters.LeastFee = MaxLeastFee + 1 }, "least_fee is 1125899906842624, allowed: 0 to 1125899906842623"},
		"no interval":          {func(g *Genesis) { g.Parameters.StateInterval = 0 }, "state_interval is 0, allowed: 16 to"},
		"a short retain":       {func(g *Genesis) { g.Parameters.Retain = 32767 }, "retain is 32767, allowed: 0, or from 32768, which is 2 times state_interval"},
		"a log with retain":    {func(g *Genesis) { g.Parameters.Retain, g.Parameters.Ledger = 32768, LedgerLog }, "a log keeps all its records"},
		"unknown signatures":   {func(g *Genesis) { g.Parameters.Signatures = "some" }, `signatures is "some", allowed: ["all" "vouched"]`},
		"unknown ledger":       {func(g *Genesis) { g.Parameters.Ledger = "" }, `ledger is "", allowed: ["payments" "log"]`},
		"another protocol":     {func(g *Genesis) { g.Parameters.ProtocolVersion = 2 }, "protocol_version is 2, allowed: 1 to 1"},
		"a small window":       {func(g *Genesis) { g.Parameters.Window = 1 }, "window is 1, allowed: 2097152 to"},
		"no name":              {func(g *Genesis) { g.Name = "" }, "name"},
		"a long name":          {func(g *Genesis) { g.Name = strings.Repeat("x", 65) }, "name"},
		"unknown consensus":    {func(g *Genesis) { g.Consensus = "paxos" }, "consensus"},
		"no horizon":           {func(g *Genesis) { g.HorizonMS = 0 }, "horizon_ms"},
		"no shards":            {func(g *Genesis) { g.Shards = nil }, "shards"},
		"too many shards":      {func(g *Genesis) { *g = *sample(MaxShards+1, 4) }, "shards"},
		"three replicas":       {func(g *Genesis) { g.Shards[1].Members = g.Shards[1].Members[:3] }, "shard 1"},
		"a key used twice":     {func(g *Genesis) { g.Shards[1].Members[2].Key = g.Shards[0].Members[0].Key }, "shard 1 replica 2"},
		"a peer id used twice": {func(g *Genesis) { g.Shards[1].Members[2].Peer = g.Shards[0].Members[0].Peer }, "shard 1 replica 2"},
		"no coin":              {func(g *Genesis) { g.Shards[1].Members[2].Coin = coin.PublicKey{} }, "shard 1: coin key 2"},
		"another coin's key":   {func(g *Genesis) { g.Shards[1].Members[2].Coin = g.Shards[0].Members[2].Coin }, "one dealing"},
		"no peer id":           {func(g *Genesis) { g.Shards[0].Members[1].Peer = "" }, "shard 0 replica 1"},
		"a long peer id":       {func(g *Genesis) { g.Shards[0].Members[1].Peer = strings.Repeat("p", 257) }, "shard 0 replica 1"},
		"an amount of 0":       {func(g *Genesis) { g.Allocations[1].Amount = 0 }, "allocation 1"},
		"no outputs":           {func(g *Genesis) { g.Allocations[0].Outputs = 0 }, "allocation 0"},
		"a product too large":  {func(g *Genesis) { g.Allocations[1].Amount = math.MaxUint64 }, "allocation 1"},
		"a sum too large": {func(g *Genesis) {
			g.Allocations[0] = Allocation{Amount: math.MaxUint64, Outputs: 1}
		}, "allocation 1"},
		"too many outputs": {func(g *Genesis) { g.Allocations[1].Outputs = maxGenesisOuts }, "allocation 1"},
	} {
		g := sample(2, 4)
		c.change(g)
		if err := g.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.says)
		}
	}
}

// TestHomeDividesEvenly: every address has one home shard, the shards' ranges follow one another, and their sizes
// differ by at most one.
func TestHomeDividesEvenly(t *testing.T) {
	at := func(lead uint64) (a ledger.Address) {
		for i := range 8 {
			a[i] = byte(lead >> (56 - 8*i))
		}
		return a
	}
	for shards := 1; shards <= MaxShards; shards++ {
		if Home(at(0), shards) != 0 || Home(at(math.MaxUint64), shards) != uint16(shards-1) {
			t.Fatalf("%d shards: the first and last address have home shards %d and %d", shards, Home(at(0), shards), Home(at(math.MaxUint64), shards))
		}
		size := math.MaxUint64 / uint64(shards)
		for s := 1; s < shards; s++ {
			first := func(k int) uint64 { // the least leading bytes of an address whose home shard is k or above
				low, high := uint64(0), uint64(math.MaxUint64)
				for low < high {
					if mid := low + (high-low)/2; int(Home(at(mid), shards)) >= k {
						high = mid
					} else {
						low = mid + 1
					}
				}
				return low
			}
			if got := first(s); got-uint64(s)*size > uint64(shards) {
				t.Errorf("%d shards: shard %d begins at %#x, want about %#x", shards, s, got, uint64(s)*size)
			}
		}
	}
}

// TestSupply: the genesis value of a shard is the sum of the allocations to its addresses.
func TestSupply(t *testing.T) {
	g := sample(2, 4)
	if a, b := g.Supply(0), g.Supply(1); a != 30 || b != 14 {
		t.Errorf("genesis values of the shards are %d and %d, want 30 and 14", a, b)
	}
	if one := sample(1, 4); one.Supply(0) != 44 {
		t.Errorf("genesis value of the only shard is %d, want 44", one.Supply(0))
	}
}

func TestCommittees(t *testing.T) {
	g := sample(2, 5)
	for s := range g.Shards {
		c, err := g.Committee(uint16(s))
		if err != nil {
			t.Fatal(err)
		}
		if c.Network() != g.ID() || c.Shard() != uint16(s) || c.N() != 5 || c.Key(4) != g.Shards[s].Members[4].Key {
			t.Errorf("committee of shard %d: %+v", s, c)
		}
	}
	if _, err := g.Committee(2); err == nil {
		t.Error("a shard that does not exist has a committee")
	}
}

func TestReadGenesis(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	g := sample(2, 4)
	raw, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ReadGenesis(write("good", string(raw)+"\n"))
	if err != nil || back.ID() != g.ID() {
		t.Errorf("the genesis that was read differs from the one written: %v", err)
	}
	for name, text := range map[string]string{
		"empty":                     "",
		"text":                      "genesis",
		"unknown field":             strings.Replace(string(raw), `"name"`, `"nome":1,"name"`, 1),
		"two values":                string(raw) + "{}",
		"invalid":                   strings.Replace(string(raw), `"version":2`, `"version":9`, 1),
		"unknown parameter":         strings.Replace(string(raw), `"least_fee"`, `"fee":1,"least_fee"`, 1),
		"parameter of another type": strings.Replace(string(raw), `"least_fee":0`, `"least_fee":"0"`, 1),
		"parameter null":            strings.Replace(string(raw), `"least_fee":0`, `"least_fee":null`, 1),
		"cut":                       string(raw[:len(raw)/2]),
	} {
		path := write("bad", text)
		if _, err := ReadGenesis(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error that names the file", name, err)
		}
	}
	if _, err := ReadGenesis(filepath.Join(dir, "none")); err == nil {
		t.Error("reading a missing file returned no error")
	}
}

// TestOlderGenesis: the error for a genesis of another version names both versions, even if the genesis has unknown
// keys.
func TestOlderGenesis(t *testing.T) {
	path := filepath.Join(t.TempDir(), "genesis.json")
	for _, version := range []string{"1", "3"} {
		text := `{"version": ` + version + `, "name": "old", "time_ms": 1, "something": [], "shards": []}`
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadGenesis(path)
		if want := "it has version " + version + ", this program reads version 2"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("version %s: %v, want an error with %q", version, err, want)
		}
	}
}

// TestParametersLeftOut: a parameter that the genesis omits has its default, and the id is the same as if the genesis
// had it. So a later program that knows more parameters computes the same id.
func TestParametersLeftOut(t *testing.T) {
	g := sample(1, 4)
	raw, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields, "parameters")
	none, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	fields["parameters"] = json.RawMessage(`{"least_fee": 0}`)
	one, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"no section": none, "one parameter": one} {
		path := filepath.Join(t.TempDir(), "genesis.json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		back, err := ReadGenesis(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if back.Parameters != DefaultParameters() || back.ID() != g.ID() {
			t.Errorf("%s: parameters %+v, id %s, want the defaults and %s", name, back.Parameters, back.ID(), g.ID())
		}
	}
}

// TestUnknownParameter: the error for an unknown key lists the known ones.
func TestUnknownParameter(t *testing.T) {
	p := DefaultParameters()
	err := json.Unmarshal([]byte(`{"least_fees": 3}`), &p)
	if err == nil || !strings.Contains(err.Error(), `"least_fees" is unknown, allowed: gap_ms, least_fee, ledger, protocol_version, retain, signatures, state_interval, window`) {
		t.Errorf("%v", err)
	}
}

// FuzzGenesis: no file makes reading or checking a genesis panic. A genesis that is accepted has an encoding that is accepted
// and has the same id.
func FuzzGenesis(f *testing.F) {
	for _, g := range []*Genesis{sample(1, 4), sample(2, 5)} {
		raw, err := json.Marshal(g)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"version":2,"shards":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		read := func(raw []byte) *Genesis {
			g := &Genesis{Parameters: DefaultParameters()}
			if decodeGenesis(raw, g) != nil || g.Validate() != nil {
				return nil
			}
			return g
		}
		g := read(raw)
		if g == nil {
			return
		}
		again, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		if x := read(again); x == nil || x.ID() != g.ID() {
			t.Errorf("%s is accepted, and its encoding %s is not, or has another id", raw, again)
		}
	})
}
