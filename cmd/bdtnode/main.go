// Command bdtnode runs replicas of a sharded Byzantine-fault-tolerant ledger, starts whole networks on one machine,
// sends payments, and queries the ledger.
package main

import (
	"os"

	"bdtnode/cmd/bdtnode/output"
)

func main() {
	ctx, stop := signalled()
	code := run(ctx, os.Args[1:], os.Stdin, output.NewPipe(os.Stdout, stop), output.NewPipe(os.Stderr, stop))
	stop()
	os.Exit(code)
}
