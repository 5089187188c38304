package paylog

import "bdtnode/internal/kv"

// StoreKinds are the kinds of records in the store of a [Log], for reports of its disk use. The tip and the identity are of
// no kind.
func StoreKinds() []kv.Kind {
	return []kv.Kind{
		{Name: "headers", Lower: []byte{keyHeader}, Upper: []byte{keyHeader + 1}},
		{Name: "batches", Lower: []byte{keyBatches}, Upper: []byte{keyBatches + 1}},
		{Name: "ids", Lower: []byte{keyIDs}, Upper: []byte{keyIDs + 1}},
	}
}
