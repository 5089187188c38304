package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/admin"
	"bdtnode/node/api"
)

func newPeers(a *app) *cobra.Command {
	var f reach
	c := group(&cobra.Command{Use: "peers", Short: "Show the peers of a replica, and the reasons why they are not connected"})
	f.add(c)
	a.nodeFlag(c)
	c.AddCommand(newPeersList(a, &f), newPeersPing(a, &f), newPeersWhy(a, &f))
	return c
}

func newPeersList(a *app, f *reach) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the members, and the connections to them",
		Long: `Lists the members of the network with the connection to each: direction, transport and age, round trip, frames and bytes by
class since the start, and the time since the last frame. A replica on this machine is asked through the socket in its
home. With --node, a replica is asked through its API, which knows less.`,
		Example: `  bdtnode peers list
  bdtnode peers list --replica 1/0 --watch
  bdtnode peers list --node http://127.0.0.1:26700 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.node != "" || f.home == "" && f.replica == "" && os.Getenv(nodeEnv) != "" {
				if f.home != "" || f.replica != "" || f.watch {
					return output.Usage("--node asks the API, and --home, --replica and --watch the socket of a home: use one of them")
				}
				return a.peersByAPI(cmd.Context())
			}
			return show(cmd.Context(), a, f, "/v1/peers", func(v *admin.Peers) *admin.Head { return &v.Head }, func(w io.Writer, v *admin.Peers) { printLinks(w, v) })
		},
	}
	f.addWatch(c)
	return c
}

// peersByAPI lists the peers with the data of the API.
func (a *app) peersByAPI(ctx context.Context) error {
	net, err := a.connect(ctx)
	if err != nil {
		return err
	}
	peers, err := net.first().Peers(ctx)
	if err != nil {
		return err
	}
	if peers == nil {
		peers = []api.Peer{}
	}
	return a.print.Data(api.PeerList{Peers: peers}, func(w io.Writer) { printPeers(w, peers) })
}

func printPeers(w io.Writer, peers []api.Peer) {
	fmt.Fprintln(w, "REPLICA\tCONNECTED\tANSWERS\tRTT\tHEIGHT\tPEER\tADDRESS")
	for _, p := range peers {
		connected, answers, rtt, addr := "no", "-", "-", "-"
		switch {
		case p.Self:
			connected = "self"
		case p.Connected:
			connected = "yes"
		}
		if p.Answers {
			answers = "yes"
		}
		if p.RTTMicros > 0 {
			rtt = (time.Duration(p.RTTMicros) * time.Microsecond).String()
		}
		if len(p.Addresses) > 0 {
			addr = p.Addresses[0]
		}
		fmt.Fprintf(w, "%d/%d\t%s\t%s\t%s\t%d\t%s\t%s\n", p.Shard, p.Replica, connected, answers, rtt, p.Height, p.PeerID, addr)
	}
}

func printLinks(w io.Writer, v *admin.Peers) {
	fmt.Fprintln(w, "\nREPLICA\tCONNECTED\tANSWERS\tDIRECTION\tTRANSPORT\tAGE\tRTT\tHEARD\tHEIGHT\tCONTROL IN/OUT\tBULK IN/OUT\tADDRESS\tWHY NOT")
	for _, p := range v.Peers {
		if p.Self {
			fmt.Fprintf(w, "%d/%d\tself\t-\t-\t-\t-\t-\t-\t%d\t-\t-\t-\t-\n", p.Shard, p.Replica, p.Height)
			continue
		}
		connected := "no"
		if p.Connected {
			connected = "yes"
		}
		rtt, heard, addr := "-", "-", p.Remote
		if p.RTTMicros > 0 {
			rtt = fmt.Sprintf("%.1f ms", float64(p.RTTMicros)/1000)
		}
		if p.HeardMS >= 0 {
			heard = seconds(max(1, p.HeardMS)) + " ago"
		}
		if addr == "" && len(p.Addresses) > 0 {
			addr = p.Addresses[0]
		}
		fmt.Fprintf(w, "%d/%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", p.Shard, p.Replica, connected, yes(p.Answers), dash(p.Direction), dash(p.Transport),
			seconds(p.OpenMS), rtt, heard, p.Height, trafficText(&p.Control), trafficText(&p.Bulk), dash(addr), dash(p.Why))
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// trafficText is the number of frames and bytes in both directions.
func trafficText(t *admin.Traffic) string {
	if t.FramesIn+t.FramesOut == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d frames, %s/%s", t.FramesIn, t.FramesOut, sizeText(int(t.BytesIn)), sizeText(int(t.BytesOut)))
}

// dialAbout parses the name of a peer and connects to the replica that is asked about it.
func (a *app) dialAbout(f *reach, peer string) (shard uint16, replica int, c *admin.Client, err error) {
	if shard, replica, err = parseReplica(peer); err == nil {
		c, err = a.dial(f)
	}
	return shard, replica, c, err
}

func newPeersPing(a *app, f *reach) *cobra.Command {
	return &cobra.Command{
		Use:   "ping PEER",
		Short: "Measure the round trip from a replica to a peer now; exit code 3 if it does not answer",
		Long: `Measures the round trip from a replica to a peer on their connection now. For a peer of the same shard it also shows the
newest Ping from engine to engine: a peer whose transport answers and whose engine does not is overloaded or blocked.`,
		Example: `  bdtnode peers ping 0/2
  bdtnode peers ping 1/0 --replica 0/1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			shard, replica, c, err := a.dialAbout(f, args[0])
			if err != nil {
				return err
			}
			var v admin.Ping
			if err := c.Post(cmd.Context(), fmt.Sprintf("/v1/peers/%d/%d/ping", shard, replica), nil, &v); err != nil {
				return adminFailure(err)
			}
			if err := a.print.Data(v, func(w io.Writer) { printPing(w, &v) }); err != nil {
				return err
			}
			if v.Error != "" {
				return output.Unreachable("replica %s does not answer replica %d/%d: %s", v.To, v.Shard, v.Replica, v.Error).WithHint("see bdtnode peers why %s", v.To)
			}
			return nil
		},
	}
}

func printPing(w io.Writer, v *admin.Ping) {
	fmt.Fprintf(w, "from\t%d/%d\nto\t%s\n", v.Shard, v.Replica, v.To)
	if v.Error == "" {
		fmt.Fprintf(w, "round trip\t%.3f ms\n", float64(v.RTTMicros)/1000)
	} else {
		fmt.Fprintf(w, "round trip\t%s\n", v.Error)
	}
	if v.EngineMS > 0 {
		answers := "does not answer"
		if v.Engine {
			answers = "answers"
		}
		fmt.Fprintf(w, "engine\t%s; last answer %.3f ms, to a Ping %s ago\n", answers, float64(v.EngineUS)/1000, seconds(v.EngineMS))
	}
}

func newPeersWhy(a *app, f *reach) *cobra.Command {
	return &cobra.Command{
		Use:   "why PEER",
		Short: "Say why a replica is not connected to a peer",
		Example: `  bdtnode peers why 0/3
  bdtnode peers why 1/0 --replica 0/1 -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			shard, replica, c, err := a.dialAbout(f, args[0])
			if err != nil {
				return err
			}
			var v admin.Peers
			if err := c.Get(cmd.Context(), "/v1/peers", &v); err != nil {
				return adminFailure(err)
			}
			for i := range v.Peers {
				if p := &v.Peers[i]; p.Shard == shard && int(p.Replica) == replica {
					if p.Self {
						return output.Usage("replica %s is the replica that is asked", args[0])
					}
					return a.print.Data(p, func(w io.Writer) { printLink(w, p) })
				}
			}
			return output.NotFound("the network has no replica %d/%d", shard, replica)
		},
	}
}

func printLink(w io.Writer, p *admin.Peer) {
	fmt.Fprintf(w, "replica\t%d/%d\npeer\t%s\n", p.Shard, p.Replica, p.PeerID)
	fmt.Fprintf(w, "connection\t%s\n", p.WhyText)
	if p.Connected {
		fmt.Fprintf(w, "link\t%s %s to %s, open for %s\n", p.Direction, p.Transport, p.Remote, seconds(p.OpenMS))
		if p.Trouble != "" {
			fmt.Fprintf(w, "last trouble\t%s ago: %s\n", seconds(p.TroubleMS), p.Trouble)
		}
	}
	if !p.Answers && p.Connected && p.SessionMS > 0 {
		fmt.Fprintf(w, "engine\tits engine has not answered a Ping for 3 s: its process is suspended, overloaded or blocked\n")
	}
	for _, addr := range p.Addresses {
		fmt.Fprintf(w, "address\t%s\n", addr)
	}
}
