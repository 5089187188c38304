// Report reads the output of `net up --load -o json` from standard input, and fails unless it is consistent: every
// transaction has its answer, replicas agree, and value is conserved. It does not check speed. Arguments are names of
// counts that must be above 0, such as cross_settled or gaps.count.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if err := check(os.Stdin, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "report: %v\n", err)
		os.Exit(1)
	}
}

func check(in io.Reader, positive []string) error {
	var r struct {
		Submitted, Unsent, Settled, Rejected, Pending *uint64
		HeadersAgree                                  *bool `json:"headers_agree"`
		ValueConserved                                *bool `json:"value_conserved"`
	}
	raw, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	os.Stderr.Write(raw)
	var all map[string]any
	if err := errors.Join(json.Unmarshal(raw, &r), json.Unmarshal(raw, &all)); err != nil {
		return fmt.Errorf("not one JSON object: %w", err)
	}
	for _, key := range []string{
		"shards", "nodes", "rate", "seed", "version", "machine", "parameters",
		"submitted", "unsent", "settled", "rejected", "pending", "cross_settled", "tps", "latency_ms",
		"cross_latency_ms", "headers_agree", "value_conserved", "node_cpu_seconds", "syncs_per_tx",
	} {
		if all[key] == nil {
			return fmt.Errorf("%s is missing", key)
		}
	}
	switch {
	case *r.Submitted == 0:
		return errors.New("no transaction was submitted")
	case *r.Unsent != 0:
		return fmt.Errorf("%d transactions were due and not sent", *r.Unsent)
	case *r.Pending != 0:
		return fmt.Errorf("%d transactions have no answer", *r.Pending)
	case *r.Settled+*r.Rejected != *r.Submitted:
		return fmt.Errorf("%d settled and %d rejected transactions are not the %d submitted", *r.Settled, *r.Rejected, *r.Submitted)
	case !*r.HeadersAgree:
		return errors.New("replicas disagree about headers")
	case !*r.ValueConserved:
		return errors.New("value was not conserved")
	}
	for _, key := range positive {
		var found any = all
		for part := range strings.SplitSeq(key, ".") {
			object, _ := found.(map[string]any)
			found = object[part]
		}
		if n, ok := found.(float64); !ok || n <= 0 {
			return fmt.Errorf("%s is %v, want more than 0", key, found)
		}
	}
	return nil
}
