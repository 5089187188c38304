package ledger

import (
	"errors"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// manyReader is implemented by stores that read many keys in less time than each alone.
type manyReader interface {
	GetMany(keys [][]byte, yield func(n int, value []byte)) error
}

// prefetchLeast is the number of outputs, or of accounts, that the caches lacked in a block, from which they are read
// together in the next block. With fewer, the lookups would take more time than they save.
const prefetchLeast = 32

// prefetch reads outputs and accounts of the store that the transactions of a block will need into the caches. The
// result of execution does not depend on it.
func (s *BlockState) prefetch() error {
	store, ok := s.store.(manyReader)
	coins, accounts := s.outputs.cold >= s.prefetchLeast, s.accounts.cold >= s.prefetchLeast
	s.outputs.cold, s.accounts.cold = 0, 0
	if !ok || !coins && !accounts {
		return nil
	}
	s.wanted.reset()
	s.wantedKeys = s.wantedKeys[:0]
	for _, p := range s.in.Payloads {
		for _, tx := range p.Txs {
			if len(s.wantedKeys) >= s.cfg.cachedAccounts() {
				break // more would drop each other
			}
			if coins {
				s.wantCoins(tx)
			}
			if accounts {
				s.wantAccounts(tx)
			}
		}
	}
	var damaged error
	err := store.GetMany(s.wantedKeys, func(n int, value []byte) {
		if err := s.fetched(s.wantedKeys[n], value); err != nil {
			damaged = err
		}
	})
	if err == nil && damaged != nil {
		err = fmt.Errorf("read outputs and accounts: %w", damaged)
	}
	return err
}

// wantCoins adds the keys of a transaction's inputs that are not in the cache.
func (s *BlockState) wantCoins(tx *Tx) {
	for i := range tx.Inputs {
		owner, o := tx.owners[i], tx.Inputs[i].Outpoint
		if s.cfg.isHome(owner) && s.outputs.cache.get(o) == nil {
			s.wantedKeys = append(s.wantedKeys, s.keys.coinKey(owner, o))
			s.outputs.cold++
		}
	}
}

// wantAccounts adds the keys of a transaction's accounts that are not in the cache.
func (s *BlockState) wantAccounts(tx *Tx) {
	for i := range tx.owners {
		if s.cfg.isHome(tx.owners[i]) {
			s.wantAccount(tx.owners[i])
		}
	}
	for i := range tx.Outputs {
		if to := tx.Outputs[i].Address; s.cfg.isHome(to) {
			s.wantAccount(to)
		}
	}
}

func (s *BlockState) wantAccount(a Address) {
	if s.accounts.cache.get(a) == nil && s.wanted.get(a) == nil {
		s.wanted.add(a, struct{}{})
		s.wantedKeys = append(s.wantedKeys, s.keys.idKey(keyAccount, digest.Digest(a)))
		s.accounts.cold++
	}
}

// fillCaches reads outputs and accounts of the store until the caches are full. A replica with many outputs would
// otherwise read most of those that are spent after a start one by one.
func (s *BlockState) fillCaches() error {
	fill := func(kind byte, limit int) error {
		return kv.Each(s.store, []byte{kind}, []byte{kind + 1}, false, func(key, value []byte) (more bool, err error) {
			limit--
			return limit > 0, s.fetched(key, value)
		})
	}
	return errors.Join(fill(keyCoin, s.outputs.cache.limit), fill(keyAccount, s.accounts.cache.limit))
}

// fetched puts the value of a key into its cache.
func (s *BlockState) fetched(key, value []byte) error {
	address := Address(key[1 : 1+digest.Size])
	if key[0] == keyAccount {
		a, err := decodeAccount(value)
		s.accounts.cache.put(address, a)
		return err
	}
	o, err := decodeOutpoint(key[1+digest.Size:])
	if err != nil {
		return err
	}
	c, err := decodeCoin(address, value)
	s.outputs.cache.put(o, c)
	return err
}
