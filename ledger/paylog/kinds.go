package paylog

import "bdtnode/internal/kv"

// StoreKinds are the kinds of records in the store of a [Log], for reports of its disk use. The tip and the identity are of
// no kind.
func StoreKinds() []kv.Kind {
	return []kv.Kind{
		kv.PrefixKind("headers", []byte{keyHeader}),
		kv.PrefixKind("batches", []byte{keyBatches}),
		kv.PrefixKind("ids", []byte{keyIDs}),
	}
}
