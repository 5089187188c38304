package kv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// unfinished is the prefix of the names of tables that are not in the store yet.
const unfinished = "window-"

// ingest writes sorted changes as tables, and adds the tables to the store in one atomic step. Afterwards the changes
// survive a crash. Keys with different first bytes are in different tables. So a kind of keys that only ever grow is
// never compacted with others, so it is worth to compress it: keys that are not in groups are compressed.
func (p *Pebble) ingest(list []change, groups map[byte]int) error {
	var paths []string
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].key[0] == list[0].key[0] {
			n++
		}
		path := p.fs.PathJoin(p.dir, fmt.Sprintf("%s%d-%d.sst", unfinished, p.tables.Add(1), list[0].key[0]))
		_, many := groups[list[0].key[0]]
		if err := p.writeTable(path, list[:n], !many); err != nil {
			return fmt.Errorf("write a table of the window: %w", err)
		}
		paths, list = append(paths, path), list[n:]
	}
	if len(paths) == 0 {
		return nil
	}
	if err := p.db.Ingest(context.Background(), paths); err != nil {
		return fmt.Errorf("add the tables of the window to the store: %w", err)
	}
	p.engine.Experimental.CompactionScheduler.UpdateGetAllowedWithoutPermission()
	return nil
}

func (p *Pebble) writeTable(path string, list []change, compress bool) error {
	f, err := p.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	o := p.engine.MakeWriterOptions(0, p.db.TableFormat())
	if compress {
		o.Compression = sstable.SnappyCompression
	}
	t := sstable.NewWriter(objstorageprovider.NewFileWritable(f), o)
	for i := range list {
		if list[i].value == nil {
			err = t.Delete(list[i].key)
		} else {
			err = t.Set(list[i].key, list[i].value)
		}
		if err != nil {
			return errors.Join(err, t.Close())
		}
	}
	return t.Close()
}

// removeUnfinishedTables removes the tables that a crash left behind.
func (p *Pebble) removeUnfinishedTables() error {
	names, err := p.fs.List(p.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, unfinished) {
			if err := p.fs.Remove(p.fs.PathJoin(p.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
