package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bdtnode/ledger"
	"bdtnode/shard"
)

func network(replicas int) Network {
	n := Network{Name: "test", Time: time.UnixMilli(1_700_000_000_000), Horizon: DefaultHorizon, Places: [][]Place{nil}}
	for range replicas {
		n.Places[0] = append(n.Places[0], Place{Listen: []string{"/ip4/127.0.0.1/tcp/4001"}, API: "127.0.0.1:0"})
	}
	n.Allocations = []shard.Allocation{{Address: ledger.Address{1}, Amount: 10, Outputs: 2}}
	return n
}

func generate(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := Generate(dir, network(4)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestGeneratedHomesLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	n := network(4)
	n.LeastFee = 3
	n.Places[0][0].Announce = "/dns/a.example/tcp/4001"
	n.Places[0][3].Listen = []string{"/ip4/127.0.0.1/tcp/0"} // its port is chosen at each start, so others cannot have it as a bootstrap address
	g, err := Generate(dir, n)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		h, err := Load(HomeDir(dir, 0, i), nil)
		if err != nil {
			t.Fatal(err)
		}
		if h.Shard != 0 || int(h.Replica) != i {
			t.Errorf("home %d belongs to shard %d replica %d", i, h.Shard, h.Replica)
		}
		if p := h.Genesis.Parameters; p.LeastFee != 3 || p.StateInterval == 0 {
			t.Errorf("home %d has a genesis with parameters %+v", i, p)
		}
		if h.Genesis.ID() != g.ID() {
			t.Errorf("home %d has another genesis", i)
		}
		if m := g.Shards[0].Members[i]; m.Key != h.ConsensusKey.Public() || m.Peer != h.PeerID.String() {
			t.Errorf("home %d has keys that are not its member's", i)
		}
		var want []string
		for k, at := range []string{"/dns/a.example/tcp/4001/p2p/", "/ip4/127.0.0.1/tcp/4001/p2p/", "/ip4/127.0.0.1/tcp/4001/p2p/"} {
			if k != i {
				want = append(want, at+g.Shards[0].Members[k].Peer)
			}
		}
		if got := h.Config.P2P.Bootstrap; !slices.Equal(got, want) {
			t.Errorf("home %d has bootstrap addresses %v, want %v", i, got, want)
		}
		if st, err := os.Stat(filepath.Join(h.Dir, "keys", "consensus.key")); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("consensus key: %v %v", st.Mode(), err)
		}
	}
	again, err := shard.ReadGenesis(GenesisPath(dir))
	if err != nil || again.ID() != g.ID() {
		t.Errorf("genesis beside the homes: %v", err)
	}
}

func TestGenerateRefuses(t *testing.T) {
	t.Run("directory in use", func(t *testing.T) {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600)
		_, err := Generate(dir, network(4))
		wantError(t, err, "not empty", "mine")
	})
	t.Run("too few replicas", func(t *testing.T) {
		_, err := Generate(t.TempDir(), network(3))
		wantError(t, err, "3 replicas")
	})
	t.Run("bad place leaves no files", func(t *testing.T) {
		dir, n := t.TempDir(), network(4)
		n.Places[0][3].API = "nowhere"
		_, err := Generate(dir, n)
		wantError(t, err, "replica 3", KeyAPIAddress)
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("files left: %v", left)
		}
	})
}

func TestPrecedence(t *testing.T) {
	home := HomeDir(generate(t), 0, 1)
	t.Setenv("BDTNODE_API_ADDRESS", "127.0.0.1:7001")
	t.Setenv("BDTNODE_P2P_LISTEN", "/ip4/127.0.0.1/tcp/1, /ip4/127.0.0.1/tcp/2")
	t.Setenv("BDTNODE_LOG_LEVEL", "warn")
	t.Setenv("BDTNODE_PASSPHRASE", "not a setting")
	h, err := Load(home, map[string]any{KeyLogLevel: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	if h.Config.API.Address != "127.0.0.1:7001" {
		t.Errorf("the environment does not override the file: %s", h.Config.API.Address)
	}
	if got := strings.Join(h.Config.P2P.Listen, " "); got != "/ip4/127.0.0.1/tcp/1 /ip4/127.0.0.1/tcp/2" {
		t.Errorf("list in the environment read as %s", got)
	}
	if h.Config.Log.Level != "debug" {
		t.Errorf("overrides do not override the environment: %s", h.Config.Log.Level)
	}
	if len(h.Config.P2P.Bootstrap) != 3 {
		t.Errorf("a setting of the file alone is lost: %v", h.Config.P2P.Bootstrap)
	}
}

func TestDefaultsFillTheFile(t *testing.T) {
	home := HomeDir(generate(t), 0, 1)
	os.WriteFile(filepath.Join(home, "config.toml"), []byte("version = 1\n"), 0o600)
	h, err := Load(home, nil)
	if err != nil {
		t.Fatal(err)
	}
	if h.Config.API.Address != Default().API.Address || h.Config.P2P.Listen[0] != Default().P2P.Listen[0] {
		t.Errorf("defaults are lost: %+v", h.Config)
	}
}

// TestEnvironmentMistakes: an unknown variable with the prefix is refused, and the error suggests the nearest known
// name. Variables of other programs are accepted.
func TestEnvironmentMistakes(t *testing.T) {
	home := HomeDir(generate(t), 0, 1)
	for name, want := range map[string]string{
		"BDTNODE_API_ADRESS": "use BDTNODE_API_ADDRESS;",
		"BDTNODE_API":        "use BDTNODE_API_ADDRESS;",
		"BDTNODE_LISTEN":     "use BDTNODE_P2P_LISTEN;",
		"BDTNODE_NOED":       "use BDTNODE_NODE;",
		"BDTNODE_log_level":  "use BDTNODE_LOG_LEVEL;",
		"BDTNODE_VERSION":    "known names: BDTNODE_NODE, BDTNODE_PASSPHRASE, BDTNODE_P2P_LISTEN,",
		"BDTNODE_":           "known names:",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "127.0.0.1:7001")
			_, err := Load(home, nil)
			wantError(t, err, "environment variable "+name+":", want)
		})
	}
	for _, name := range []string{"BDTNODE_SERVICE_HOST", "BDTNODE_PORT", "BDTNODE_PORT_26700_TCP_ADDR", "BDTNODE_API_SERVICE_PORT_HTTP", "BDTNODE", "OTHER_BDTNODE_X"} {
		t.Setenv(name, "10.0.0.1")
	}
	if _, err := Load(home, nil); err != nil {
		t.Error(err)
	}
}

// TestSettingSource: the error of a setting names the source of its value and no other source.
func TestSettingSource(t *testing.T) {
	home := HomeDir(generate(t), 0, 1)
	source := func(overrides map[string]any) *SettingError {
		t.Helper()
		_, err := Load(home, overrides)
		var s *SettingError
		if !errors.As(err, &s) {
			t.Fatalf("error %v", err)
		}
		return s
	}
	if s := source(map[string]any{KeyAPIAddress: "localhost"}); !s.Flag || s.Key != KeyAPIAddress || s.File+s.Variable != "" {
		t.Errorf("a flag: %+v", s)
	}
	t.Setenv("BDTNODE_P2P_QUIC", "perhaps")
	if s := source(nil); s.Variable != "BDTNODE_P2P_QUIC" || s.Flag || s.File != "" || !strings.Contains(s.Error(), "BDTNODE_P2P_QUIC") {
		t.Errorf("a variable: %+v", s)
	}
	os.Unsetenv("BDTNODE_P2P_QUIC")
	os.WriteFile(filepath.Join(home, "config.toml"), []byte("version = 1\n[log]\nlevel = 'loud'\n"), 0o600)
	if s := source(map[string]any{KeyAPIAddress: "127.0.0.1:0"}); s.File != filepath.Join(home, "config.toml") || s.Key != KeyLogLevel || s.Flag {
		t.Errorf("the file: %+v", s)
	}
}

// TestByteOrderMark: a byte-order mark at the beginning of the file is ignored.
func TestByteOrderMark(t *testing.T) {
	home := HomeDir(generate(t), 0, 1)
	os.WriteFile(filepath.Join(home, "config.toml"), []byte("\ufeffversion = 1\n"), 0o600)
	if _, err := Load(home, nil); err != nil {
		t.Error(err)
	}
}

// TestBrokenHomes: for any defect, the error names the file, the field and the remedy.
func TestBrokenHomes(t *testing.T) {
	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, home string) {
			path := filepath.Join(home, name)
			os.Remove(path)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, home string) { os.RemoveAll(filepath.Join(home, name)) }
	}
	chmod := func(name string, mode os.FileMode) func(*testing.T, string) {
		return func(t *testing.T, home string) { os.Chmod(filepath.Join(home, name), mode) }
	}
	swap := func(name string) func(*testing.T, string) {
		return func(t *testing.T, home string) {
			raw, err := os.ReadFile(filepath.Join(filepath.Dir(home), "shard0-replica2", name))
			if err != nil {
				t.Fatal(err)
			}
			write(name, string(raw))(t, home)
		}
	}
	for name, c := range map[string]struct {
		do   func(*testing.T, string)
		want []string
	}{
		"no home":             {remove("."), []string{"shard0-replica1"}},
		"no config":           {remove("config.toml"), []string{"config.toml is missing", "testnet generate"}},
		"not TOML":            {write("config.toml", "version = ["), []string{"config.toml", "TOML"}},
		"no version":          {write("config.toml", "[api]\n"), []string{"config.toml", "version = 1"}},
		"later version":       {write("config.toml", "version = 2\n"), []string{"config.toml", `"2"`, "version = 1"}},
		"unknown setting":     {write("config.toml", "version = 1\n[api]\nadress='x'\n"), []string{"api.adress", "api.address"}},
		"bad listen":          {write("config.toml", "version = 1\n[p2p]\nlisten=['127.0.0.1:1']\n"), []string{"p2p.listen", "multiaddr"}},
		"no listen":           {write("config.toml", "version = 1\n[p2p]\nlisten=[]\n"), []string{"p2p.listen: the list is empty"}},
		"listen without tcp":  {write("config.toml", "version = 1\n[p2p]\nlisten=['/ip4/1.2.3.4/udp/4']\n"), []string{"p2p.listen", "tcp"}},
		"quic not on":         {write("config.toml", "version = 1\n[p2p]\nlisten=['/ip4/1.2.3.4/udp/4/quic-v1']\n"), []string{"p2p.quic = true"}},
		"announce with id":    {write("config.toml", "version = 1\n[p2p]\nannounce=['/ip4/1.2.3.4/tcp/4/p2p/12D3KooWGYsxCqyqZkEPSYGcEpHCVaGBvJXkUyMLtHkPvZkGYHvL']\n"), []string{"p2p.announce"}},
		"bootstrap no id":     {write("config.toml", "version = 1\n[p2p]\nbootstrap=['/ip4/1.2.3.4/tcp/4']\n"), []string{"p2p.bootstrap", "/p2p/"}},
		"no delays":           {write("config.toml", "version = 1\n[p2p]\nwan='uniform:1'\n"), []string{"p2p.wan", "uniform:100ms"}},
		"delays over quic":    {write("config.toml", "version = 1\n[p2p]\nwan='aws8'\nquic=true\n"), []string{"p2p.wan", "p2p.quic"}},
		"bad api":             {write("config.toml", "version = 1\n[api]\naddress='localhost'\n"), []string{"api.address", "host:port"}},
		"bad api port":        {write("config.toml", "version = 1\n[api]\naddress='localhost:99999'\n"), []string{"api.address", "port"}},
		"bad level":           {write("config.toml", "version = 1\n[log]\nlevel='loud'\n"), []string{"log.level", "info"}},
		"no genesis":          {remove("genesis.json"), []string{"genesis.json"}},
		"bad genesis":         {write("genesis.json", "{}"), []string{"genesis.json", "version 0"}},
		"no key":              {remove("keys/consensus.key"), []string{"consensus.key is missing"}},
		"key for all to read": {chmod("keys/consensus.key", 0o640), []string{"consensus.key", "0640", "chmod 0600"}},
		"keys for all":        {chmod("keys", 0o755), []string{"keys has mode 0755", "chmod 0700"}},
		"peer key for all":    {chmod("keys/peer.key", 0o604), []string{"peer.key", "0604", "chmod 0600"}},
		"key not JSON":        {write("keys/peer.key", "0123"), []string{"peer.key", "damaged"}},
		"key version":         {write("keys/peer.key", `{"version":9}`), []string{"peer.key", "version is 9"}},
		"key kind":            {write("keys/peer.key", `{"version":1,"kind":"consensus"}`), []string{"peer.key", `"consensus"`, `"peer"`}},
		"key seed":            {write("keys/peer.key", `{"version":1,"kind":"peer","seed":"00"}`), []string{"peer.key", "seed"}},
		"key public":          {write("keys/peer.key", `{"version":1,"kind":"peer","seed":"`+strings.Repeat("00", 32)+`"}`), []string{"peer.key", "public"}},
		"another's key":       {swap("keys/peer.key"), []string{"keys", "exchanged"}},
	} {
		t.Run(name, func(t *testing.T) {
			home := HomeDir(generate(t), 0, 1)
			c.do(t, home)
			_, err := Load(home, nil)
			wantError(t, err, c.want...)
		})
	}
}

func TestForeignGenesis(t *testing.T) {
	home, other := HomeDir(generate(t), 0, 1), generate(t)
	raw, err := os.ReadFile(GenesisPath(other))
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(home, "genesis.json"), raw, 0o600)
	_, err = Load(home, nil)
	wantError(t, err, "genesis.json", "another network")
}

func TestLockAndPublish(t *testing.T) {
	dir := HomeDir(generate(t), 0, 2)
	h, err := Load(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	release, err := h.Lock()
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Lock()
	wantError(t, err, dir, "in use by process")

	if _, ok, err := ReadRunning(dir); ok || err != nil {
		t.Errorf("published before it listens: %v %v", ok, err)
	}
	if err := h.Publish([]string{"/ip4/127.0.0.1/tcp/9"}, "http://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	r, ok, err := ReadRunning(dir)
	if err != nil || !ok || r.API != "http://127.0.0.1:1" || r.PID != os.Getpid() || r.Replica != 2 || r.P2P[0] != "/ip4/127.0.0.1/tcp/9" {
		t.Errorf("read back %+v %v %v", r, ok, err)
	}
	if got := <-h.Published(); got.API != r.API {
		t.Errorf("published %+v", got)
	}
	release()
	if _, ok, _ := ReadRunning(dir); ok {
		t.Error("still published as running after the lock was released")
	}
	again, err := h.Lock()
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	again()
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that contains %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not contain %q", err, p)
		}
	}
}
