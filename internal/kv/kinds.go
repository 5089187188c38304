package kv

// Kind is a kind of records of a store, for reports of its disk use: the records with Lower <= key < Upper.
type Kind struct {
	Name         string
	Lower, Upper []byte
}

// PrefixKind is the kind of the records whose keys begin with a prefix.
func PrefixKind(name string, prefix []byte) Kind { return Kind{name, prefix, PrefixEnd(prefix)} }

// KindUse is the size that a kind of records takes in the tables of a store, in bytes.
type KindUse struct {
	Name  string
	Bytes uint64
}

// OtherKind is the name of the kind of all records that are of no given kind.
const OtherKind = "other"

// KindUse estimates the size of each kind, and of the rest as [OtherKind]. The estimate counts blocks of tables, so records
// of other kinds in the same block count too. Records that are only in memory, or in the log, do not count. The sizes are
// zero once the store is closed.
func (p *Pebble) KindUse(kinds []Kind) []KindUse {
	out := make([]KindUse, 0, len(kinds)+1)
	left := p.DiskUse().Tables
	for _, k := range kinds {
		n := p.rangeUse(k.Lower, k.Upper)
		out = append(out, KindUse{k.Name, n})
		left -= min(left, n)
	}
	return append(out, KindUse{OtherKind, left})
}

func (p *Pebble) rangeUse(lower, upper []byte) uint64 {
	if p.enter() != nil {
		return 0
	}
	defer p.leave()
	n, err := p.db.EstimateDiskUsage(lower, upper)
	if p.read(err) != nil {
		return 0
	}
	return n
}

// KindUse is [Pebble.KindUse].
func (w *Window) KindUse(kinds []Kind) []KindUse { return w.disk.KindUse(kinds) }
