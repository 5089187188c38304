package proof

// Signed is the content of a header that f+1 replicas of its shard have signed.
type Signed struct {
	Shard    uint16
	Height   uint64
	TimeMS   uint64   // block time, Unix milliseconds
	Digest   [32]byte // of the header
	Receipts [32]byte // root of receipts; in a log, over the records of the block's batches
	Signers  []uint16
}

// CheckHeader checks an encoded header of the network and the signatures on it, of distinct replicas in ascending order. The
// error is an [*Error].
func (n *Network) CheckHeader(raw []byte, signatures []Signature) (*Signed, error) {
	x := Block{Header: raw, Signatures: signatures}
	h, err := x.header(n)
	if err != nil {
		return nil, err
	}
	signers, err := x.signers(n, &h)
	if err != nil {
		return nil, err
	}
	return &Signed{Shard: h.shard, Height: h.height, TimeMS: h.timeMS, Digest: h.digest, Receipts: h.receipts, Signers: signers}, nil
}
