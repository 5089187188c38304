package sim

import "context"

// logSearch is runs of a log, more than of other searches: a crash between two events of one batch is seldom.
func logSearch(*mutant) search {
	return search{runs: 4 * enough, name: seedName, run: func(ctx context.Context, k int) error {
		_, err := Run(ctx, logRun(uint64(k)+1), nil)
		return err
	}}
}

// logMutants are bugs in the log of payloads and in the requests to append them.
func logMutants() []mutant {
	const (
		queue = "node/appends/queue.go"
		ids   = "ledger/paylog/ids.go"
	)
	return []mutant{
		{"an answer has the place of the first batch", "", "payloads", []edit{
			{queue, "at := ledger.LogPlace{Height: height, Batch: uint32(i)}", "at := ledger.LogPlace{Height: height}"},
		}},
		{"payloads stay in the queue", "", "payloads invariant", []edit{
			{queue, "		r.rest = r.rest.After(raw, n)\n", "		if r.taken > 0 {\n			r.rest = r.rest.After(raw, n)\n		}\n"},
		}},
		{"payloads are accepted before they are on disk", "", "liveness", []edit{
			{queue, "	r.result.Accepted = r.logged\n", "	r.result.Accepted = r.taken\n"},
			{queue, "		whole++\n", "		whole++\n		if r.stage == admission.Logged {\n			r.finish()\n		}\n"},
		}},
		{"an id is not remembered in the first batch", "", "payloads", []edit{
			{ids, "		if of, ok := x.known[id]; ok {\n", "		if of, ok := x.known[id]; ok && batch > 0 {\n"},
		}},
		{"ids are forgotten at a start", "", "agreement durability payloads invariant", []edit{
			{"ledger/paylog/log.go", "	if err := l.ids.load(store); err != nil {\n", "	if err := error(nil); err != nil {\n"},
		}},
	}
}
