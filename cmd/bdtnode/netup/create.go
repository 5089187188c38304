// Package netup creates networks and runs all replicas of a network on this machine, each as a process of its own.
package netup

import (
	"path/filepath"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/ledger"
	"bdtnode/node/config"
	"bdtnode/shard"
)

// Directories of keystores beside the homes of a network.
const (
	AccountsDir = "accounts" // funded accounts for users
	LoadDir     = "load"     // funded accounts of loads
)

// Funding is a set of accounts and their genesis outputs. Their home shards are all shards of the network in turn.
type Funding struct {
	Dir     string // name of the keystore, below the directory of the network
	Names   []string
	Outputs uint32
	Amount  uint64 // value of each output
}

// People is the funding of the accounts that every new network has for users.
func People() Funding {
	return Funding{Dir: AccountsDir, Names: []string{"alice", "bob", "carol", "dave"}, Outputs: 10, Amount: 100_000}
}

// Network is the result of [Create].
type Network struct {
	ID       string    `json:"network"` // genesis id
	Genesis  string    `json:"genesis"` // path of the genesis file
	Homes    []Home    `json:"homes"`
	Accounts []Account `json:"accounts"` // accounts of the first funding
}

// Home is the home of one replica.
type Home struct {
	Shard   uint16   `json:"shard"`
	Replica int      `json:"replica"`
	Dir     string   `json:"home"`
	Listen  []string `json:"listen"` // multiaddrs
	API     string   `json:"api"`    // host:port
}

// Account is an account funded by genesis.
type Account struct {
	Name    string         `json:"name"`
	Address ledger.Address `json:"address"`
	Shard   uint16         `json:"shard"`
	Balance uint64         `json:"balance,string"`
}

// makeAt creates an account with a given home shard, by drawing keys until an address has that home.
func makeAt(name string, home uint16, shards int) (keystore.Account, error) {
	for {
		acc, err := keystore.Make(name)
		if err != nil || shard.Home(acc.Address, shards) == home {
			return acc, err
		}
	}
}

// Create generates a network with funded accounts below dir, which must be empty or new.
func Create(dir string, n config.Network, fundings ...Funding) (*Network, error) {
	accounts := make([][]keystore.Account, len(fundings))
	for i, f := range fundings {
		for k, name := range f.Names {
			acc, err := makeAt(name, uint16(k%len(n.Places)), len(n.Places))
			if err != nil {
				return nil, err
			}
			accounts[i] = append(accounts[i], acc)
			n.Allocations = append(n.Allocations, shard.Allocation{Address: acc.Address, Amount: f.Amount, Outputs: f.Outputs})
		}
	}
	g, err := config.Generate(dir, n)
	if err != nil {
		return nil, err
	}
	made := &Network{ID: g.ID().String(), Genesis: config.GenesisPath(dir)}
	for i, f := range fundings {
		store := keystore.Open(filepath.Join(dir, f.Dir))
		for _, acc := range accounts[i] {
			if _, err := store.Save(acc, ""); err != nil {
				return nil, err
			}
			if i == 0 {
				made.Accounts = append(made.Accounts, Account{acc.Name, acc.Address, g.Home(acc.Address), f.Amount * uint64(f.Outputs)})
			}
		}
	}
	for s, replicas := range n.Places {
		for i, p := range replicas {
			made.Homes = append(made.Homes, Home{Shard: uint16(s), Replica: i, Dir: config.HomeDir(dir, uint16(s), i), Listen: p.Listen, API: p.API})
		}
	}
	return made, nil
}
