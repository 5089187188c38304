// Package config is a replica's home on disk: its settings, genesis, keys, data and what it says of itself while it
// runs. It reads and checks all of it, and writes new homes for a network.
//
// A home is
//
//	config.toml            settings; BDTNODE_<SECTION>_<KEY> in the environment and flags go before it
//	genesis.json           what the whole network agrees on
//	keys/consensus.key     secret the replica signs consensus messages with
//	keys/peer.key          secret behind its libp2p peer id
//	keys/coin.key          its secret part of the shard's coin
//	data/                  its stores
//	run/                   a lock, and the addresses of the running replica
package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// Version is the version of config.toml and of the layout of a home.
const Version = 1

// EnvPrefix begins the environment variables that stand before config.toml: BDTNODE_API_ADDRESS is api.address.
// Lists are separated by commas.
const EnvPrefix = "BDTNODE_"

// Keys that may be given in the environment or as overrides.
const (
	KeyListen     = "p2p.listen"
	KeyAnnounce   = "p2p.announce"
	KeyBootstrap  = "p2p.bootstrap"
	KeyQUIC       = "p2p.quic"
	KeyAPIAddress = "api.address"
	KeyLogLevel   = "log.level"
)

// Config is the settings of one replica.
type Config struct {
	Version int `koanf:"version"`
	P2P     P2P `koanf:"p2p"`
	API     API `koanf:"api"`
	Log     Log `koanf:"log"`
}

// P2P is how replicas reach one another.
type P2P struct {
	Listen    []string `koanf:"listen"`    // multiaddrs to listen on; port 0 takes a free one at each start
	Announce  []string `koanf:"announce"`  // multiaddrs to tell others instead of those listened on; may be empty
	Bootstrap []string `koanf:"bootstrap"` // multiaddrs, with /p2p/ peer ids, of replicas to join by; one is enough
	QUIC      bool     `koanf:"quic"`      // also speak QUIC where Listen has such addresses
}

// API is the HTTP interface.
type API struct {
	Address string `koanf:"address"` // host:port; port 0 takes a free one at each start
}

// Log is what the replica writes to standard error.
type Log struct {
	Level string `koanf:"level"` // debug, info, warn or error
}

// Default is the settings of a replica whose config.toml says nothing.
func Default() Config {
	return Config{
		Version: Version,
		P2P:     P2P{Listen: []string{"/ip4/0.0.0.0/tcp/26600"}},
		API:     API{Address: "127.0.0.1:26700"},
		Log:     Log{Level: "info"},
	}
}

// readConfig merges defaults, the file, the environment and overrides, the later before the earlier, and checks
// the result.
func readConfig(path string, overrides map[string]any) (Config, error) {
	k := koanf.New(".")
	if err := k.Load(structs.Provider(Default(), "koanf"), nil); err != nil {
		return Config{}, fmt.Errorf("default settings: %w", err)
	}
	known := k.Keys()
	inFile := koanf.New(".")
	if err := inFile.Load(file.Provider(path), toml.Parser()); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return Config{}, fmt.Errorf("%s is missing: is this the home of a replica? make homes with: bdtnode testnet generate", path)
		}
		return Config{}, fmt.Errorf("%s is not valid TOML: %w", path, err)
	}
	if v := inFile.Int("version"); v != Version {
		return Config{}, fmt.Errorf("%s: version is %q, this program reads version = %d", path, inFile.String("version"), Version)
	}
	fromEnv := koanf.New(".")
	if err := fromEnv.Load(env.Provider(".", env.Opt{Prefix: EnvPrefix, TransformFunc: envKey}), nil); err != nil {
		return Config{}, fmt.Errorf("read settings from the environment: %w", err)
	}
	given := koanf.New(".")
	if err := given.Load(confmap.Provider(overrides, "."), nil); err != nil {
		return Config{}, fmt.Errorf("read settings from flags: %w", err)
	}
	var c Config
	for _, src := range []struct {
		name string
		k    *koanf.Koanf
	}{{path, inFile}, {"environment", fromEnv}, {"flags", given}} {
		for _, key := range src.k.Keys() {
			if !slices.Contains(known, key) {
				return Config{}, fmt.Errorf("%s: unknown setting %s; known are %s", src.name, key, strings.Join(known, ", "))
			}
		}
		if err := k.Merge(src.k); err != nil {
			return Config{}, fmt.Errorf("%s: %w", src.name, err)
		}
		if err := k.Unmarshal("", &c); err != nil {
			return Config{}, fmt.Errorf("%s: %w", src.name, err)
		}
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// envKey turns BDTNODE_P2P_LISTEN into p2p.listen. Variables outside the sections of the file are for commands and
// are left out.
func envKey(name, value string) (string, any) {
	section, key, ok := strings.Cut(strings.ToLower(strings.TrimPrefix(name, EnvPrefix)), "_")
	if !ok || !slices.Contains([]string{"p2p", "api", "log"}, section) {
		return "", nil
	}
	key = section + "." + key
	switch key {
	case KeyListen, KeyAnnounce, KeyBootstrap:
		return key, splitList(value)
	}
	return key, value
}

func splitList(s string) []string {
	out := []string{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// Validate names the first setting that cannot be used, and what it should be.
func (c *Config) Validate() error {
	if c.Version != Version {
		return fmt.Errorf("version is %d, this program reads version = %d", c.Version, Version)
	}
	if len(c.P2P.Listen) == 0 {
		return fmt.Errorf("%s is empty: give at least one multiaddr such as /ip4/0.0.0.0/tcp/26600", KeyListen)
	}
	for _, s := range c.P2P.Listen {
		if err := checkTransport(s, c.P2P.QUIC); err != nil {
			return fmt.Errorf("%s: %w", KeyListen, err)
		}
	}
	for _, s := range c.P2P.Announce {
		if err := checkTransport(s, c.P2P.QUIC); err != nil {
			return fmt.Errorf("%s: %w", KeyAnnounce, err)
		}
	}
	for _, s := range c.P2P.Bootstrap {
		if _, err := peer.AddrInfoFromString(s); err != nil {
			return fmt.Errorf("%s: %q is not a multiaddr with a peer id, such as /ip4/192.0.2.1/tcp/26600/p2p/12D3…: %w", KeyBootstrap, s, err)
		}
	}
	host, port, err := net.SplitHostPort(c.API.Address)
	if err != nil {
		return fmt.Errorf("%s: %q is not host:port, such as 127.0.0.1:26700", KeyAPIAddress, c.API.Address)
	}
	if _, err := net.LookupPort("tcp", port); err != nil || host == "" {
		return fmt.Errorf("%s: %q needs a host and a port of 0 to 65535 (0.0.0.0 listens everywhere)", KeyAPIAddress, c.API.Address)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		return fmt.Errorf("%s is %q: use debug, info, warn or error", KeyLogLevel, c.Log.Level)
	}
	return nil
}

// checkTransport accepts a multiaddr that replicas can listen on or be dialled at.
func checkTransport(s string, quic bool) error {
	a, err := multiaddr.NewMultiaddr(s)
	if err != nil {
		return fmt.Errorf("%q is not a multiaddr such as /ip4/0.0.0.0/tcp/26600: %w", s, err)
	}
	if _, err := a.ValueForProtocol(multiaddr.P_P2P); err == nil {
		return fmt.Errorf("%q: leave the /p2p/ part away", s)
	}
	if _, err := a.ValueForProtocol(multiaddr.P_TCP); err == nil {
		return nil
	}
	if _, err := a.ValueForProtocol(multiaddr.P_QUIC_V1); err == nil {
		if !quic {
			return fmt.Errorf("%q is a QUIC address: set %s = true or use tcp", s, KeyQUIC)
		}
		return nil
	}
	return fmt.Errorf("%q has no tcp port", s)
}
