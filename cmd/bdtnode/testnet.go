package main

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/config"
	"bdtnode/protocols"
	"bdtnode/shard"
)

// testnetFlags are the flags of testnet generate.
type testnetFlags struct {
	shards, nodes    int
	hosts            []string
	out, name        string
	p2pPort, apiPort int
	apiHost          string
	leastFee         uint64
	ledger           string
	signatures       string
	gap              time.Duration
}

func newTestnet(a *app) *cobra.Command {
	c := group(&cobra.Command{Use: "testnet", Short: "Create networks of several hosts"})
	var f testnetFlags
	g := &cobra.Command{
		Use:   "generate",
		Short: "Write one home for each replica, the genesis and funded accounts",
		Long: `Writes one home for each replica, the common genesis, and the keys of funded accounts. Hosts are IP addresses or DNS
names. If there are fewer hosts than replicas, they repeat in turn, and the replicas of one host get consecutive ports.
Replicas listen on all addresses of their host and announce the one given here; a name may have IPv4 addresses, IPv6
addresses or both. The home of each replica lists the addresses of all others of its shard, and of f+1 replicas of each
of the next shards. A replica joins the network through any one of these that is up.`,
		Example: `  bdtnode testnet generate --nodes 4 --hosts 10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4 --out net
  bdtnode testnet generate --shards 2 --nodes 4 --hosts a.example.com,b.example.com,c.example.com,d.example.com --out net
  bdtnode testnet generate --nodes 7 --hosts eu.example.com,us.example.com --p2p-port 4000 --out net`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.generateTestnet(&f) },
	}
	fs := g.Flags()
	fs.IntVar(&f.shards, "shards", 1, "number of shards, 1 to 64")
	fs.IntVar(&f.nodes, "nodes", 4, "replicas of each shard, 4 to 100")
	fs.StringSliceVar(&f.hosts, "hosts", nil, "IP addresses or DNS names of the hosts, separated by commas")
	fs.StringVar(&f.out, "out", "", "directory to write to; it must be new or empty")
	fs.StringVar(&f.name, "name", "testnet", "display name of the network, 1 to 64 bytes")
	fs.IntVar(&f.p2pPort, "p2p-port", 26600, "TCP port between replicas, for the first replica of a host; further ones get the next ports")
	fs.IntVar(&f.apiPort, "api-port", 26700, "TCP port of the HTTP API, likewise; 0: each replica chooses a free port")
	fs.StringVar(&f.apiHost, "api-host", "127.0.0.1", "address on which the HTTP APIs listen; they have no password")
	fs.Uint64Var(&f.leastFee, "least-fee", 0, "least fee of a transaction, for each byte of its encoding (default 0)")
	ledgerFlag(g, &f.ledger)
	addSignatures(fs, &f.signatures)
	addGap(fs, &f.gap)
	paths(fs, "out")
	words(g, "signatures", shard.SignaturesAll, shard.SignaturesVouched)
	c.AddCommand(g)
	return c
}

// addSignatures adds the flag for the parameter "signatures" of a new network.
func addSignatures(fs *pflag.FlagSet, signatures *string) {
	fs.StringVar(signatures, "signatures", config.DefaultSignatures,
		fmt.Sprintf("replicas that verify the transactions of a batch: %s, or %s for f+1 that vouch for it", shard.SignaturesAll, shard.SignaturesVouched))
}

// addGap adds the flag for the parameter "gap_ms" of a new network.
func addGap(fs *pflag.FlagSet, gap *time.Duration) {
	usual := shard.DefaultParameters()
	fs.DurationVar(gap, "gap", usual.Gap(),
		fmt.Sprintf("time from a leader's proposal to its next under lasting load, %dms to %dms: longer costs latency and saves processor time", shard.MinGapMS, shard.MaxGapMS))
}

// checkGap refuses gaps that a genesis cannot have.
func checkGap(gap time.Duration) error {
	if ms := gap.Milliseconds(); gap%time.Millisecond != 0 || ms < shard.MinGapMS || ms > shard.MaxGapMS {
		return output.Usage("--gap %v: use whole milliseconds, %dms to %dms", gap, shard.MinGapMS, shard.MaxGapMS)
	}
	return nil
}

// checkSize refuses sizes of networks that are not supported.
func checkSize(shards, nodes int) error {
	if shards < 1 || shards > shard.MaxShards {
		return output.Usage("--shards %d: use 1 to %d", shards, shard.MaxShards)
	}
	if nodes < protocols.MinReplicas || nodes > protocols.MaxReplicas {
		return output.Usage("--nodes %d: use %d to %d; fewer than %d cannot tolerate a faulty replica", nodes, protocols.MinReplicas, protocols.MaxReplicas, protocols.MinReplicas)
	}
	return nil
}

func (a *app) generateTestnet(f *testnetFlags) error {
	if err := checkSize(f.shards, f.nodes); err != nil {
		return err
	}
	if f.out == "" || len(f.hosts) == 0 {
		return output.Usage("give --hosts A,B,… and --out DIR")
	}
	if f.leastFee > shard.MaxLeastFee {
		return output.Usage("--least-fee %d: use 0 to %d", f.leastFee, uint64(shard.MaxLeastFee))
	}
	if err := checkGap(f.gap); err != nil {
		return err
	}
	places, err := f.places()
	if err != nil {
		return err
	}
	made, err := netup.Create(f.out, config.Network{Name: f.name, Time: time.Now(), Horizon: config.DefaultHorizon, LeastFee: f.leastFee, Gap: f.gap, Ledger: f.ledger, Signatures: f.signatures, Places: places}, fundings(f.ledger)...)
	if err != nil {
		return err
	}
	return a.print.Data(made, func(w io.Writer) { printTestnet(w, f, made) })
}

// places assigns the replicas to the hosts in turn, with their addresses and ports.
func (f *testnetFlags) places() ([][]config.Place, error) {
	used := make(map[string]int) // number of replicas on each host
	places := make([][]config.Place, f.shards)
	for i := range f.shards * f.nodes {
		host := f.hosts[i%len(f.hosts)]
		listen, announce, err := hostAddr(host)
		if err != nil {
			return nil, output.Usage("--hosts: %v", err)
		}
		p2p, api := f.p2pPort+used[host], f.apiPort
		if api != 0 {
			api += used[host]
		}
		used[host]++
		if p2p < 1 || p2p > 65535 {
			return nil, output.Usage("--p2p-port: host %s would need port %d; use 1 to 65535, since other replicas must know the port", host, p2p)
		}
		if api < 0 || api > 65535 {
			return nil, output.Usage("--api-port: host %s would need port %d; use 0 to 65535", host, api)
		}
		at := config.Place{API: net.JoinHostPort(f.apiHost, strconv.Itoa(api))}
		for _, l := range listen {
			at.Listen = append(at.Listen, fmt.Sprintf("%s/tcp/%d", l, p2p))
		}
		if announce != listen[0] {
			at.Announce = fmt.Sprintf("%s/tcp/%d", announce, p2p)
		}
		places[i/f.nodes] = append(places[i/f.nodes], at)
	}
	return places, nil
}

var dnsName = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)*[a-zA-Z][a-zA-Z0-9-]{0,61}\.?$`)

// hostAddr returns the beginnings of the multiaddrs on which a host listens and that others dial. On a loopback address
// a replica listens on that address only, so that replicas on several loopback addresses may share a port. A name may
// have addresses of both families, so its host listens on both.
func hostAddr(host string) (listen []string, announce string, err error) {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	switch {
	case ip == nil && dnsName.MatchString(host):
		return []string{"/ip4/0.0.0.0", "/ip6/::"}, "/dns/" + host, nil
	case ip == nil:
		return nil, "", fmt.Errorf("%q is neither an IP address nor a DNS name", host)
	case ip.IsUnspecified() || ip.IsMulticast():
		return nil, "", fmt.Errorf("%s is not an address that other hosts can reach", host)
	case ip.To4() != nil && ip.IsLoopback():
		return []string{"/ip4/" + ip.String()}, "/ip4/" + ip.String(), nil
	case ip.IsLoopback():
		return []string{"/ip6/" + ip.String()}, "/ip6/" + ip.String(), nil
	case ip.To4() != nil:
		return []string{"/ip4/0.0.0.0"}, "/ip4/" + ip.String(), nil
	}
	return []string{"/ip6/::"}, "/ip6/" + ip.String(), nil
}

// ledgerFlag adds the flag --ledger.
func ledgerFlag(c *cobra.Command, ledger *string) {
	c.Flags().StringVar(ledger, "ledger", shard.LedgerPayments, "ledger of a new network: payments, or log for opaque payloads in place of transactions")
	words(c, "ledger", shard.LedgerPayments, shard.LedgerLog)
}

// fundings are the funded accounts of a new network. A log has no accounts.
func fundings(ledger string, more ...netup.Funding) []netup.Funding {
	if ledger == shard.LedgerLog {
		return nil
	}
	return append([]netup.Funding{netup.People()}, more...)
}

func printTestnet(w io.Writer, f *testnetFlags, made *netup.Network) {
	fmt.Fprintf(w, "Network %s in %s\n\nREPLICA\tHOST\tLISTENS\tAPI\tHOME\n", made.ID, f.out)
	for i, h := range made.Homes {
		fmt.Fprintf(w, "%d/%d\t%s\t%s\t%s\t%s\n", h.Shard, h.Replica, f.hosts[i%len(f.hosts)], strings.Join(h.Listen, " "), h.API, h.Dir)
	}
	first := made.Homes[0]
	try := fmt.Sprintf("bdtnode tx send --node http://%s --keys %s --from alice --to bob --amount 5", first.API, filepath.Join(f.out, netup.AccountsDir))
	if len(made.Accounts) > 0 {
		fmt.Fprintf(w, "\nACCOUNT\tSHARD\tBALANCE\tADDRESS\n")
	} else {
		try = fmt.Sprintf("bdtnode log append --node http://%s hello", first.API)
	}
	for _, acc := range made.Accounts {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", acc.Name, acc.Shard, acc.Balance, acc.Address)
	}
	fmt.Fprintf(w, `
Next:
1. Copy each home to its host, and keep its keys secret. The homes contain the addresses of the other replicas, so the
   hosts must have the addresses given.
2. On each host: bdtnode start --home HOME
3. On %s: %s
`, f.hosts[0], try)
}
