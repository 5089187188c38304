package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/registry"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
	"bdtnode/node/config"
)

// nodeEnv is the environment variable with the URL of a replica. --node overrides it.
const nodeEnv = config.EnvNode

// probeTimeout bounds the answer of a replica of a network found on this machine.
const probeTimeout = 3 * time.Second

// replicas is a network to talk to: the replica that answered first, and others as a fallback.
type replicas struct {
	clients  []*client.Client // clients[0] answered the status request
	status   api.Status
	accounts string // keystore of the network's funded accounts, empty if unknown
}

func (r *replicas) first() *client.Client { return r.clients[0] }

// nodeFlag adds the flag --node to a command and its subcommands.
func (a *app) nodeFlag(c *cobra.Command) {
	c.PersistentFlags().StringVar(&a.node, "node", "",
		"URL of a replica's API (default: $"+nodeEnv+", else the newest network running on this machine)")
}

// connectFor reads the id of a transaction and connects.
func connectFor(ctx context.Context, a *app, text string) (ledger.TxID, *replicas, error) {
	id, err := ledger.ParseTxID(text)
	if err != nil {
		return id, nil, output.Usage("%v", err)
	}
	net, err := connectTo(ctx, a, api.LedgerPayments)
	return id, net, err
}

// connect finds the replica to talk to: the one of --node, else one of the newest network on this machine.
func (a *app) connect(ctx context.Context) (*replicas, error) {
	named := a.node
	if named == "" {
		named = os.Getenv(nodeEnv)
	}
	if named != "" {
		c, err := client.New(named, client.Options{})
		if err != nil {
			return nil, output.Usage("--node: %v", err)
		}
		st, err := c.Status(ctx)
		if err != nil {
			return nil, err
		}
		return &replicas{clients: []*client.Client{c}, status: st, accounts: accountsOf(st.Network)}, nil
	}
	running, err := registry.List(registry.Dir())
	if err != nil {
		return nil, err
	}
	for _, e := range running {
		if r := probe(ctx, e); r != nil {
			return r, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f := output.Unreachable("no network is running on this machine")
	if len(running) > 0 {
		f = output.Unreachable("network %s (process %d) is running on this machine, but none of its replicas answers", running[0].Name, running[0].PID)
	}
	return nil, f.WithHint("start one with bdtnode net up, or choose a replica with --node URL")
}

// accountsOf is the keystore of a network that runs on this machine, empty if there is no such network or it has no
// keystore.
func accountsOf(network string) string {
	running, err := registry.List(registry.Dir())
	if err != nil {
		return "" // accounts are looked up elsewhere, and reported missing there if they are needed
	}
	for _, e := range running {
		if e.Network == network {
			return e.Accounts
		}
	}
	return ""
}

// probe asks the replicas of a network in turn until one answers, and puts that one first. It returns nil if none
// answers.
func probe(ctx context.Context, e registry.Entry) *replicas {
	r := &replicas{accounts: e.Accounts}
	answered := false
	for _, replica := range e.Replicas {
		c, err := client.New(replica.API, client.Options{})
		if err != nil {
			continue
		}
		r.clients = append(r.clients, c)
		if answered {
			continue
		}
		asked, cancel := context.WithTimeout(ctx, probeTimeout)
		r.status, err = c.Status(asked)
		cancel()
		if err == nil {
			answered = true
			last := len(r.clients) - 1
			r.clients[0], r.clients[last] = r.clients[last], r.clients[0]
		}
	}
	if !answered {
		return nil
	}
	return r
}
