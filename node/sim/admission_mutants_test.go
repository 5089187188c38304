package sim

// admissionMutants are bugs in admission.
func admissionMutants() []mutant {
	const (
		kept = "node/admission/kept.go"
		door = "node/admission/door.go"
		look = "node/admission/look.go"
		book = "node/admission/book.go"
	)
	return []mutant{
		{"the mark moves without the records of left-out transactions", "admission", "promises", []edit{
			{kept, "			records = append(records, protocols.Record{Key: keptKey(prefixTx, e.id()), Value: e.tx.Encode()})\n", ""},
		}},
		{"left-out transactions are not restored at a start", "admission", "promises", []edit{
			{kept, "	d.park(e, now)\n	return nil\n", "	d.drop(e)\n	return nil\n"},
		}},
		{"a left-out transaction is dropped", "admission", "promises", []edit{
			{"node/admission/executed.go", "	case e.state == inBatch:\n		d.park(e, now)\n", "	case e.state == inBatch:\n		d.drop(e)\n		return\n"},
		}},
		{"transactions with unknown inputs are batched", "admission", "promises", []edit{
			{door, "			links, processable = append(links, link{entry: e, on: in.Outpoint.Tx}), false\n			continue\n", "			links = append(links, link{entry: e, on: in.Outpoint.Tx})\n			continue\n"},
		}},
		{"expiry goes by the clock of the replica", "admission", "durability promises", []edit{
			{look, "max(h.TimeMS, min(now.WallMS, tx.ExpiryMS))", "max(h.TimeMS, now.WallMS)"},
		}},
		{"a full book evicts accepted transactions", "a small book", "promises invariant", []edit{
			{book, "		d.queues.serve(e)\n		d.fees.remove(e)\n", "		d.queues.serve(e)\n"},
			{"node/admission/entry.go", "{ return (e.state == ready || e.state == behind) && !e.logged }", "{ return true }"},
		}},
	}
}
