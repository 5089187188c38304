// Package config reads, checks and writes the home of a replica on disk: its settings, genesis, keys, data directory,
// and the addresses that it publishes while it runs. It also generates the homes of a new network.
//
// A home is
//
//	born                   exists until the first start
//	config.toml            settings; the environment (BDTNODE_<SECTION>_<KEY>) and flags override it
//	genesis.json           members, allocations and parameters of the whole network
//	keys/consensus.key     secret key for signing consensus messages
//	keys/peer.key          secret key of its libp2p peer id
//	keys/coin.key          its secret share of the shard's coin
//	data/                  its stores
//	run/                   a lock, and the addresses of the running replica
package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"bdtnode/internal/wan"
	"bdtnode/ledger"
)

// Version is the version of the format of config.toml and of the layout of a home.
const Version = 1

// Keys of settings. All except the version can be set in the environment or as overrides.
const (
	keyVersion    = "version"
	KeyListen     = "p2p.listen"
	KeyAnnounce   = "p2p.announce"
	KeyBootstrap  = "p2p.bootstrap"
	KeyQUIC       = "p2p.quic"
	KeyWAN        = "p2p.wan"
	KeyAPIAddress = "api.address"
	KeyAPIHosts   = "api.hosts"
	KeyAPIOrigins = "api.origins"
	KeyLogLevel   = "log.level"
	KeyLogFormat  = "log.format"
	KeyOutputs    = "ledger.cached_outputs"
)

// Config contains the settings of one replica.
type Config struct {
	Version int    `koanf:"version"`
	P2P     P2P    `koanf:"p2p"`
	API     API    `koanf:"api"`
	Log     Log    `koanf:"log"`
	Ledger  Ledger `koanf:"ledger"`
}

// P2P configures the connections between replicas.
type P2P struct {
	Listen    []string `koanf:"listen"`    // multiaddrs to listen on; port 0 chooses a free port at each start
	Announce  []string `koanf:"announce"`  // multiaddrs to announce in place of those listened on; may be empty
	Bootstrap []string `koanf:"bootstrap"` // multiaddrs of bootstrap replicas, with /p2p/ and the peer id; one that is up is enough
	QUIC      bool     `koanf:"quic"`      // also use QUIC where Listen has such addresses
	WAN       string   `koanf:"wan"`       // delays to add to received bytes, see [wan.Parse]; for measurements on one machine
}

// API configures the HTTP API.
type API struct {
	Address string   `koanf:"address"` // host:port; port 0 chooses a free port at each start
	Hosts   []string `koanf:"hosts"`   // host names that requests may name, besides IP addresses, localhost and the name in Address
	Origins []string `koanf:"origins"` // origins whose web pages may use the API; none by default
}

// Log configures the log lines on standard error.
type Log struct {
	Level  string `koanf:"level"`  // debug, info, warn or error
	Format string `koanf:"format"` // text or json
}

// Ledger configures the memory of the ledger.
type Ledger struct {
	CachedOutputs int `koanf:"cached_outputs"` // unspent outputs in memory, and half as many accounts; about 150 bytes of memory for each output
}

// fewestOutputs is the least value of the setting ledger.cached_outputs.
const fewestOutputs = 1000

// Default returns the settings of a replica whose config.toml sets nothing but the version.
func Default() Config {
	return Config{
		Version: Version,
		P2P:     P2P{Listen: []string{"/ip4/0.0.0.0/tcp/26600"}},
		API:     API{Address: "127.0.0.1:26700", Hosts: []string{}, Origins: []string{}},
		Log:     Log{Level: "info", Format: "text"},
		Ledger:  Ledger{CachedOutputs: ledger.DefaultCachedOutputs},
	}
}

// readConfig merges the defaults, the file, the environment and overrides, each overriding those before it, and checks
// the result. The error of an invalid setting is a [*SettingError] with its source.
func readConfig(path string, overrides map[string]any) (Config, error) {
	if err := CheckEnvironment(); err != nil {
		return Config{}, err
	}
	k := koanf.New(".")
	if err := k.Load(structs.Provider(Default(), "koanf"), nil); err != nil {
		return Config{}, fmt.Errorf("default settings: %w", err)
	}
	known := k.Keys()
	inFile, err := readFile(path)
	if err != nil {
		return Config{}, err
	}
	var c Config
	from := make(map[string]*SettingError) // source of each setting
	for _, src := range []struct {
		values map[string]any
		of     func(key string) *SettingError
	}{
		{inFile, func(key string) *SettingError { return &SettingError{Key: key, File: path} }},
		{environment(), func(key string) *SettingError { return &SettingError{Key: key, Variable: EnvName(key)} }},
		{overrides, func(key string) *SettingError { return &SettingError{Key: key, Flag: true} }},
	} {
		for _, key := range slices.Sorted(maps.Keys(src.values)) {
			from[key] = src.of(key)
			if !slices.Contains(known, key) {
				return Config{}, from[key].because(fmt.Errorf("unknown setting; known settings: %s", strings.Join(known, ", ")))
			}
			err := k.Set(key, src.values[key])
			if err == nil {
				err = k.Unmarshal("", &c)
			}
			if err != nil {
				return Config{}, from[key].because(err)
			}
		}
	}
	if key, err := c.wrong(); err != nil {
		if from[key] == nil {
			from[key] = &SettingError{Key: key, File: path} // a default: only the file can have left it in place
		}
		return Config{}, from[key].because(err)
	}
	return c, nil
}

// readFile returns the settings of config.toml by key. It checks the version.
func readFile(path string) (map[string]any, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: give the home directory of a replica, or create homes with: bdtnode testnet generate", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	values, err := toml.Parser().Unmarshal(bytes.TrimPrefix(raw, []byte(byteOrderMark)))
	if err != nil {
		return nil, fmt.Errorf("%s is not valid TOML: %w", path, err)
	}
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(values, ""), nil); err != nil {
		return nil, fmt.Errorf("read settings of %s: %w", path, err)
	}
	if v := k.Int("version"); v != Version {
		return nil, fmt.Errorf("%s: version is %q, but this program reads version = %d", path, k.String("version"), Version)
	}
	return k.All(), nil
}

// byteOrderMark is at the beginning of files of some editors. It is not part of their text.
const byteOrderMark = "\ufeff"

// Validate returns an error for the first invalid setting, with the expected form.
func (c *Config) Validate() error {
	if key, err := c.wrong(); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// wrong returns the key of the first invalid setting and the reason, or an empty key.
func (c *Config) wrong() (key string, err error) {
	if c.Version != Version {
		return keyVersion, fmt.Errorf("version is %d, but this program reads version = %d", c.Version, Version)
	}
	if len(c.P2P.Listen) == 0 {
		return KeyListen, errors.New("the list is empty: give at least one multiaddr such as /ip4/0.0.0.0/tcp/26600")
	}
	for _, s := range c.P2P.Listen {
		if err := checkTransport(s, c.P2P.QUIC); err != nil {
			return KeyListen, err
		}
	}
	for _, s := range c.P2P.Announce {
		if err := checkTransport(s, c.P2P.QUIC); err != nil {
			return KeyAnnounce, err
		}
	}
	for _, s := range c.P2P.Bootstrap {
		if _, err := peer.AddrInfoFromString(s); err != nil {
			return KeyBootstrap, fmt.Errorf("%q is not a multiaddr with a peer id, such as /ip4/192.0.2.1/tcp/26600/p2p/12D3…: %w", s, err)
		}
	}
	if err := c.P2P.checkWAN(); err != nil {
		return KeyWAN, err
	}
	host, port, err := net.SplitHostPort(c.API.Address)
	if err != nil {
		return KeyAPIAddress, fmt.Errorf("%q is not host:port, such as 127.0.0.1:26700", c.API.Address)
	}
	if _, err := net.LookupPort("tcp", port); err != nil || host == "" {
		return KeyAPIAddress, fmt.Errorf("%q needs a host and a port of 0 to 65535 (host 0.0.0.0 listens on all addresses)", c.API.Address)
	}
	for _, name := range c.API.Hosts {
		if !hostName.MatchString(name) {
			return KeyAPIHosts, fmt.Errorf("%q is not a host name such as replica-0.example.com: leave out scheme and port", name)
		}
	}
	for _, origin := range c.API.Origins {
		if err := checkOrigin(origin); err != nil {
			return KeyAPIOrigins, err
		}
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		return KeyLogLevel, fmt.Errorf("%q is unknown: use debug, info, warn or error", c.Log.Level)
	}
	if !slices.Contains([]string{"text", "json"}, c.Log.Format) {
		return KeyLogFormat, fmt.Errorf("%q is unknown: use text or json", c.Log.Format)
	}
	if c.Ledger.CachedOutputs < fewestOutputs {
		return KeyOutputs, fmt.Errorf("%d is too few: give at least %d", c.Ledger.CachedOutputs, fewestOutputs)
	}
	return "", nil
}

// checkWAN accepts delays that can be read and applied.
func (p *P2P) checkWAN() error {
	if p.WAN != "" && p.QUIC {
		return fmt.Errorf("connections of %s have no delays: set it to false", KeyQUIC)
	}
	_, err := wan.Parse(p.WAN)
	return err
}

// hostName matches the host names of the setting api.hosts.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)

// checkOrigin accepts an origin as browsers send it.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Scheme+"://"+u.Host != origin || u.Host != strings.ToLower(u.Host) {
		return fmt.Errorf("%q is not an origin such as https://wallet.example or http://127.0.0.1:8000: give scheme, host in lower case and port alone", origin)
	}
	return nil
}

// APIHosts are the host names that requests of the API may name.
func (c *Config) APIHosts() []string {
	host, _, _ := net.SplitHostPort(c.API.Address) // it is valid
	return append(slices.Clone(c.API.Hosts), host)
}

// checkTransport accepts multiaddrs on which a replica can listen or at which it can be dialled.
func checkTransport(s string, quic bool) error {
	a, err := multiaddr.NewMultiaddr(s)
	if err != nil {
		return fmt.Errorf("%q is not a multiaddr such as /ip4/0.0.0.0/tcp/26600: %w", s, err)
	}
	if _, err := a.ValueForProtocol(multiaddr.P_P2P); err == nil {
		return fmt.Errorf("%q: leave out the /p2p/ part", s)
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
