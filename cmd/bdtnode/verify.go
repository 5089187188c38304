package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/ledger"
	"bdtnode/node/client"
	"bdtnode/shard/proof"
)

func newVerify(a *app) *cobra.Command {
	var genesis, id string
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check a proof of a transaction with the genesis alone; exit code 8 if it is wrong",
		Long: `Checks a proof that "tx get --prove" wrote, and shows the result that it proves. It uses no network and no replica: it
trusts the genesis file, and that at most f replicas of each shard that the transaction involves are Byzantine.

A proof is right if it has, for each shard that the transaction involves, the headers of the blocks with its receipts,
each signed by f+1 replicas of the shard; the paths of the receipts to these headers; the verdict of each input shard;
and the last receipt of each shard, the same in all. Otherwise the exit code is 8, and the error names the part that is
wrong: encoding, transaction, network, header, certificate, inclusion, receipt, verdicts or settlement.`,
		Example: `  bdtnode verify pay.proof --genesis genesis.json
  bdtnode verify pay.proof --genesis genesis.json --tx 01ab… -o json`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault // completion offers files
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if genesis == "" {
				return output.Usage("give the genesis of the network with --genesis: the proof is checked with its keys")
			}
			raw, err := readBounded(genesis, proof.MaxGenesisBytes)
			if err != nil {
				return output.Usage("genesis: %v", err)
			}
			network, err := proof.ReadGenesis(raw)
			if err != nil {
				return output.Usage("%s: %v", genesis, err)
			}
			if raw, err = readBounded(args[0], proof.MaxBytes); err != nil {
				return output.Usage("proof: %v", err)
			}
			finding, err := verify(raw, network, id)
			if err != nil {
				return err
			}
			v := verifiedOf(finding)
			return a.print.Data(v, func(w io.Writer) { printVerified(w, &v) })
		},
	}
	c.Flags().StringVar(&genesis, "genesis", "", "genesis of the network, from a source that you trust")
	c.Flags().StringVar(&id, "tx", "", "id of the transaction that the proof must be about")
	return c
}

// verify checks a proof, and that it is about the transaction with an id, if that is not empty.
func verify(raw []byte, network *proof.Network, id string) (*proof.Finding, error) {
	var want ledger.TxID
	if id != "" {
		var err error
		if want, err = ledger.ParseTxID(id); err != nil {
			return nil, output.Usage("--tx: %v", err)
		}
	}
	p, err := proof.Decode(raw)
	if err != nil {
		return nil, output.BadProof(err)
	}
	f, err := p.Verify(network)
	if err != nil {
		return nil, output.BadProof(err)
	}
	if id != "" && f.Tx.ID != want {
		return nil, output.BadProof(fmt.Errorf("bad proof: transaction: the proof is right, but about transaction %x", f.Tx.ID))
	}
	return f, nil
}

// readBounded reads a file of at most limit bytes, and one byte more of a longer one.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// verified is the output of verify.
type verified struct {
	Network  string          `json:"network"`
	Tx       string          `json:"id"`
	State    string          `json:"state"` // settled or rejected
	Reason   string          `json:"reason,omitempty"`
	Fee      uint64          `json:"fee,string"`
	ExpiryMS uint64          `json:"expiry_ms"`
	Inputs   []verifiedCoin  `json:"inputs"`
	Outputs  []verifiedCoin  `json:"outputs"`
	Results  []verifiedEntry `json:"results"`
}

// verifiedCoin is an output that the transaction spends, or one that it creates if it is settled.
type verifiedCoin struct {
	Tx     string `json:"tx"`
	Index  uint16 `json:"index"`
	Owner  string `json:"owner"`
	Amount uint64 `json:"amount,string"`
	Shard  uint16 `json:"shard"`
}

// verifiedEntry is a receipt.
type verifiedEntry struct {
	Shard    uint16   `json:"shard"`
	Height   uint64   `json:"height,string"`
	TimeMS   uint64   `json:"time_ms"`
	Position uint32   `json:"position"`
	Verdict  string   `json:"verdict"`
	Reason   string   `json:"reason,omitempty"`
	Header   string   `json:"header_digest"`
	Signers  []uint16 `json:"signers"`
}

func verifiedOf(f *proof.Finding) verified {
	text := func(d [32]byte) string { return hex.EncodeToString(d[:]) }
	v := verified{
		Network: text(f.Tx.Network), Tx: text(f.Tx.ID), State: proof.Rejected.String(), Reason: ledger.Reason(f.Reason).String(),
		Fee: f.Tx.Fee, ExpiryMS: f.Tx.ExpiryMS,
	}
	if f.Settled {
		v.State = proof.Settled.String()
	}
	for _, in := range f.Tx.Inputs {
		v.Inputs = append(v.Inputs, verifiedCoin{text(in.Tx), in.Index, text(in.Owner), in.Amount, in.Shard})
	}
	for i, out := range f.Tx.Outputs {
		v.Outputs = append(v.Outputs, verifiedCoin{v.Tx, uint16(i), text(out.Owner), out.Amount, out.Shard})
	}
	for _, s := range f.Shards {
		for _, r := range s.Results {
			v.Results = append(v.Results, verifiedEntry{
				s.Shard, r.Height, r.TimeMS, r.Position, r.Verdict.String(), ledger.Reason(r.Reason).String(), text(r.Header), r.Signers,
			})
		}
	}
	return v
}

func printVerified(w io.Writer, v *verified) {
	fmt.Fprintf(w, "proof\tright\nnetwork\t%s\nid\t%s\nstate\t%s\n", v.Network, v.Tx, v.State)
	if v.Reason != "" {
		fmt.Fprintf(w, "reason\t%s\n", v.Reason)
	}
	fmt.Fprintf(w, "\nSHARD\tHEIGHT\tPOSITION\tTIME\tRESULT\tSIGNED BY\n")
	for _, r := range v.Results {
		result := r.Verdict
		if r.Reason != "" {
			result += " (" + r.Reason + ")"
		}
		signers := strings.Trim(fmt.Sprint(r.Signers), "[]")
		fmt.Fprintf(w, "%d\t%d\t%d\t%s\t%s\t%s\n", r.Shard, r.Height, r.Position, timeText(r.TimeMS), result, signers)
	}
	fmt.Fprintf(w, "\nOUTPUT\tSHARD\tAMOUNT\tOWNER\n")
	for _, o := range v.Outputs {
		fmt.Fprintf(w, "%d\t%d\t%d\t%s\n", o.Index, o.Shard, o.Amount, o.Owner)
	}
}

func timeText(ms uint64) string {
	return time.UnixMilli(int64(min(ms, 1<<53))).UTC().Format("2006-01-02T15:04:05.000Z")
}

// writeProof writes the proof of a transaction's result to a file. The replica has checked it; this program checks only
// that it is a proof, because it need not have the genesis.
func (a *app) writeProof(ctx context.Context, c *client.Client, id ledger.TxID, path string) error {
	raw, err := c.Proof(ctx, id)
	if errors.Is(err, client.ErrNotFound) {
		return output.NotFound("no proof of transaction %s: %v", id, err)
	}
	if err != nil {
		return err
	}
	if _, err := proof.Decode(raw); err != nil {
		return fmt.Errorf("%s sent a wrong proof of transaction %s: %w", c.URL(), id, err)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		return fmt.Errorf("write the proof: %w", err)
	}
	a.print.Note("%s has a proof of %d bytes; check it with: bdtnode verify %s --genesis FILE", path, len(raw), path)
	return nil
}
