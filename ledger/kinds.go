package ledger

import "bdtnode/internal/kv"

// StoreKinds are the kinds of records in the store of a [State], for reports of its disk use. The tip, the identity and the
// names of bad batches are of no kind.
func StoreKinds() []kv.Kind {
	return []kv.Kind{
		storeKind("headers", keyHeader, keyHeader),
		storeKind("blocks", keyBlock, keyBlock),
		storeKind("ids", keyID, keyID),
		storeKind("outputs", keyCoin, keyCoin),
		storeKind("accounts", keyAccount, keyAccount),
		storeKind("history", keyHistory, keyHistory),
		storeKind("settlement", keyPart, keyUnsent),
	}
}

func storeKind(name string, first, last byte) kv.Kind {
	return kv.Kind{Name: name, Lower: []byte{first}, Upper: []byte{last + 1}}
}
