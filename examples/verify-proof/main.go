// Command verify-proof checks proofs of transactions with the genesis of their network, outside of the module of the
// ledger and without a network.
//
//	verify-proof GENESIS PROOF...
package main

import (
	"fmt"
	"os"

	"bdtnode/shard/proof"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: verify-proof GENESIS PROOF...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(8)
	}
}

// run checks proofs and prints the result that each proves. The error is that of the first wrong one.
func run(genesis string, proofs []string) error {
	file, err := os.ReadFile(genesis)
	if err != nil {
		return err
	}
	network, err := proof.ReadGenesis(file)
	if err != nil {
		return err
	}
	for _, name := range proofs {
		file, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		p, err := proof.Decode(file)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		f, err := p.Verify(network)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Printf("transaction %x, settled: %t, shards: %d\n", f.Tx.ID, f.Settled, len(f.Shards))
	}
	return nil
}
