package kv

import "strings"

// tableSuffix ends the names of tables. Numbers of files are never used again.
const tableSuffix = ".sst"

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

// KeptKind is the name of the kind of the tables that only kept states have.
const KeptKind = "kept"

// KindUse is [Pebble.KindUse], and has the tables that only kept states have as [KeptKind].
func (w *Window) KindUse(kinds []Kind) []KindUse {
	return append(w.disk.KindUse(kinds), KindUse{KeptKind, w.disk.keptUse()})
}

// keptUse is the size of the tables of kept states that the store itself has no more.
func (p *Pebble) keptUse() (bytes uint64) {
	if p.enter() != nil {
		return 0
	}
	defer p.leave()
	states, err := p.keptNames()
	present, err2 := p.fs.List(p.dir)
	if err != nil || err2 != nil {
		return 0
	}
	seen := make(map[string]bool, len(present))
	for _, name := range present {
		seen[name] = true
	}
	for _, state := range states {
		dir := p.fs.PathJoin(p.dir, keptDir, state)
		names, err := p.fs.List(dir)
		if err != nil {
			continue // it was removed meanwhile
		}
		for _, name := range names {
			if seen[name] || !strings.HasSuffix(name, tableSuffix) {
				continue
			}
			seen[name] = true
			if info, err := p.fs.Stat(p.fs.PathJoin(dir, name)); err == nil {
				bytes += uint64(info.Size())
			}
		}
	}
	return bytes
}
