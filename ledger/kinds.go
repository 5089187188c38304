package ledger

import "bdtnode/internal/kv"

// StoreKinds are the kinds of records in the store of a [State], for reports of its disk use. The tip, the identity and the
// names of bad batches are of no kind.
func StoreKinds() []kv.Kind {
	return []kv.Kind{
		kv.PrefixKind("headers", []byte{keyHeader}),
		kv.PrefixKind("blocks", []byte{keyBlock}),
		kv.PrefixKind("ids", []byte{keyID}),
		kv.PrefixKind("outputs", []byte{keyCoin}),
		kv.PrefixKind("accounts", []byte{keyAccount}),
		kv.PrefixKind("history", []byte{keyHistory}),
		{Name: "settlement", Lower: []byte{keyPart}, Upper: []byte{keyUnsent + 1}},
	}
}
