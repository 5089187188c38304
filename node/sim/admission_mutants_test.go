package sim

// admissionMutants are bugs in admission.
func admissionMutants() []mutant {
	const (
		persist = "node/admission/persist.go"
		place   = "node/admission/admission.go"
		lookup  = "node/admission/lookup.go"
		mempool = "node/admission/mempool.go"
	)
	return []mutant{
		{"the mark moves without the records of left-out transactions", "admission", "promises", []edit{
			{persist, "			records = append(records, protocols.Record{Key: persistedKey(prefixTx, e.id()), Value: e.tx.Encode()})\n", ""},
		}},
		{"left-out transactions are not restored at a start", "admission", "promises", []edit{
			{persist, "	a.park(e, now)\n	return nil\n", "	a.drop(e)\n	return nil\n"},
		}},
		{"a left-out transaction is dropped", "admission", "promises", []edit{
			{"node/admission/executed.go", "	case e.state == inBatch:\n		a.park(e, now)\n", "	case e.state == inBatch:\n		a.drop(e)\n		return\n"},
		}},
		{"transactions with unknown inputs are batched", "admission", "promises", []edit{
			{place, "			links, processable = append(links, link{entry: e, on: in.Outpoint.Tx}), false\n			continue\n", "			links = append(links, link{entry: e, on: in.Outpoint.Tx})\n			continue\n"},
		}},
		{"expiry goes by the clock of the replica", "admission", "durability promises", []edit{
			{lookup, "max(h.TimeMS, min(now.WallMS, tx.ExpiryMS))", "max(h.TimeMS, now.WallMS)"},
		}},
		{"a full mempool evicts accepted transactions", "a small mempool", "promises invariant", []edit{
			{mempool, "		a.queues.serve(e)\n		a.fees.remove(e)\n", "		a.queues.serve(e)\n"},
			{"node/admission/entry.go", "{ return (e.state == ready || e.state == behind) && !e.logged }", "{ return true }"},
		}},
	}
}
