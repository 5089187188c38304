package ledger

import (
	"bytes"
	"strconv"
	"testing"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// TestLongHistory reads a history that has several groups of entries, from every place and in both directions.
func TestLongHistory(t *testing.T) {
	const count = 3*historyStride + 5
	s := open(t, kv.NewMem(), testConfig(2, count, 10))
	var heights []uint64 // of the entries of account 0, from the genesis on
	heights = append(heights, 0)
	for k := 0; k < count; {
		var txs []*Tx
		for range min(1+k%7, count-k) {
			txs = append(txs, pay(t, 0, 10, []Outpoint{genesisOut(0, k)}, 1, Output{addressOf(1), 4}, Output{addressOf(0), 5}))
			heights = append(heights, s.Height()+1)
			k++
		}
		run(t, s, genesisTime+uint64(k), txs...)
	}
	for number := range heights {
		list, err := s.Changes(addressOf(0), uint64(number), 70)
		if err != nil || len(list) != min(70, len(heights)-number) {
			t.Fatalf("from number %d: %d entries, %v", number, len(list), err)
		}
		for i, h := range list {
			if h.Height != heights[number+i] || number+i > 0 && (h.Spent != 10 || h.Received != 5) {
				t.Fatalf("entry %d is %+v, want height %d", number+i, h, heights[number+i])
			}
		}
		acc, err := s.Account(addressOf(0), Page{HistoryLimit: 3, Older: strconv.Itoa(number + 1)})
		if err != nil || acc.History[0] != list[0] || len(acc.History) != min(3, number+1) {
			t.Fatalf("page before number %d: %+v, %v", number+1, acc.History, err)
		}
	}
	for height := range s.Height() + 2 {
		want := len(heights)
		for i, h := range heights {
			if h >= height {
				want = i
				break
			}
		}
		if got, err := s.FirstChange(addressOf(0), height); err != nil || got != uint64(want) {
			t.Errorf("first change from height %d on: %d, want %d, %v", height, got, want, err)
		}
	}
}

// TestDamagedRecords: a damaged record of a block is an error, and an encoding has one form.
func TestDamagedRecords(t *testing.T) {
	i := item{tx: TxID{1}, verdict: VerdictSettled, parties: []party{{place{1, 2, 3}, 4, 5}, {place{6, 7, 8}, 9, 10}}}
	enc := i.append(nil)
	for cut := range len(enc) {
		r := wire.NewReader(enc[:cut])
		if readItem(r); r.Done() == nil {
			t.Errorf("%d of %d bytes were decoded", cut, len(enc))
		}
	}
	r := wire.NewReader(enc)
	if got := readItem(r); r.Done() != nil || !bytes.Equal(got.append(nil), enc) {
		t.Errorf("%+v, %v", got, r.Err())
	}
	store := kv.NewMem()
	s := open(t, store, testConfig(1, 2, 100))
	tx := pay(t, 0, 100, []Outpoint{genesisOut(0, 0)}, 0, Output{addressOf(1), 100})
	run(t, s, genesisTime, tx)
	for name, v := range map[string][]byte{"short": {1}, "missing": nil} {
		var b kv.Batch
		if v == nil {
			b.Delete(blockKey(1, 0))
		} else {
			b.Set(blockKey(1, 0), v)
		}
		if err := store.Apply(&b, true); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := s.Receipt(tx.ID()); ok || err == nil {
			t.Errorf("%s record: the receipt was found, %v", name, err)
		}
		if _, err := s.Account(addressOf(0), Page{HistoryLimit: 1}); err == nil {
			t.Errorf("%s record: no error of the history", name)
		}
	}
}
