package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/admin"
)

// Bounds of the items of a bundle.
const (
	itemTime   = 5 * time.Second // for an item that is of one moment
	maxItem    = 64 << 20        // bytes
	maxLogFile = 1 << 20         // bytes from the end of replica.log
	bundleLog  = 5000            // lines of the log in memory
	cpuSeconds = 5               // of the profile of the processor
)

// bundleItem is one file of a bundle.
type bundleItem struct {
	name  string
	limit time.Duration
	local bool // it needs no answer of the replica
	write func(ctx context.Context, w io.Writer) error
}

// itemError is the error of an item that is missing in a bundle.
type itemError struct {
	Item  string `json:"item"`
	Error string `json:"error"`
}

// bundleResult is the output of debug bundle.
type bundleResult struct {
	File   string      `json:"file"`
	Bytes  int64       `json:"bytes"`
	Items  []string    `json:"items"`
	Errors []itemError `json:"errors"`
}

func newDebugBundle(a *app, f *reach) *cobra.Command {
	var out string
	var cpu time.Duration
	c := &cobra.Command{
		Use:   "bundle",
		Short: "Write one archive with the state, log, metrics and profiles of a replica, without secrets",
		Long: `Writes a tar.gz archive for the analysis of a fault: version and configuration, the answers of the debug commands, the newest
log lines, metrics, profiles, disk use by kind, and the peers. Each item has a time limit of its own. errors.json lists
the items that failed, with the reason. So the archive is useful even if the replica hangs or does not run.

The archive has no secret keys: an item that contains a key of the home in any form is left out. It has addresses of
peers, log lines, and ids and values of transactions.`,
		Example: `  bdtnode debug bundle --replica 0/1 --out bundle.tar.gz
  bdtnode debug bundle --home net/shard0-replica0 --cpu 10s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cpu < 0 || cpu > admin.MaxCPUSeconds*time.Second || cpu%time.Second != 0 {
				return output.Usage("--cpu %v: use whole seconds, 0s to %ds", cpu, admin.MaxCPUSeconds)
			}
			home, err := a.bundleHome(f)
			if err != nil {
				return err
			}
			if out == "" {
				out = "bdtnode-" + filepath.Base(home) + "-" + time.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
			}
			secrets, err := secretsOf(home)
			if err != nil {
				return err
			}
			r := bundleResult{File: out}
			r.Bytes, err = writeFileFrom(out, func(w io.Writer) error {
				return writeBundle(cmd.Context(), w, bundleItems(home, int(cpu/time.Second)), secrets, &r)
			})
			if err != nil {
				return err
			}
			return a.print.Data(r, func(w io.Writer) { printBundle(w, &r) })
		},
	}
	c.Flags().StringVar(&out, "out", "", "archive to write (default: a name with the replica and the time)")
	c.Flags().DurationVar(&cpu, "cpu", cpuSeconds*time.Second, "duration of the profile of the processor, 0s for none")
	paths(c.Flags(), "out")
	return c
}

// bundleHome is the home of the selected replica, which need not run.
func (a *app) bundleHome(f *reach) (string, error) {
	home, err := a.replicaHome(f)
	if err == nil {
		return home, nil
	}
	if dirs, err := candidateHomes(f); err == nil && f.replica == "" && len(dirs) > 0 {
		return dirs[0].home, nil
	}
	return "", err
}

func printBundle(w io.Writer, r *bundleResult) {
	fmt.Fprintf(w, "%s\t%d bytes, %d items\n", r.File, r.Bytes, len(r.Items))
	for _, e := range r.Errors {
		fmt.Fprintf(w, "missing: %s\t%s\n", e.Item, e.Error)
	}
}

// bundleItems lists the items of a bundle. Those that show the state come before the profiles.
func bundleItems(home string, cpu int) []bundleItem {
	var c *admin.Client
	replica := func(ask func(ctx context.Context, w io.Writer) error) func(ctx context.Context, w io.Writer) error {
		return func(ctx context.Context, w io.Writer) (err error) {
			if c == nil {
				if c, err = admin.Dial(home); err != nil {
					return err
				}
			}
			return ask(ctx, w)
		}
	}
	path := func(name, path string) bundleItem {
		return bundleItem{name, itemTime, false, replica(func(ctx context.Context, w io.Writer) error { return c.Stream(ctx, path, w, maxItem) })}
	}
	profile := func(kind string, seconds int) bundleItem {
		return bundleItem{profileFiles[kind], time.Duration(seconds)*time.Second + profileWait, false,
			replica(func(ctx context.Context, w io.Writer) error { return c.Profile(ctx, kind, seconds, w) })}
	}
	file := func(as, name string) bundleItem {
		return bundleItem{as, itemTime, true, func(_ context.Context, w io.Writer) error { return copyFile(filepath.Join(home, name), w, maxItem) }}
	}
	items := []bundleItem{
		{"program.json", itemTime, true, func(_ context.Context, w io.Writer) error { return writeJSON(w, readVersion()) }},
		path("version.json", "/v1/version"),
		path("consensus.json", "/v1/consensus"), path("lanes.json", "/v1/lanes"), path("settlement.json", "/v1/settlement"),
		path("evidence.json", "/v1/evidence"), path("peers.json", "/v1/peers"), path("log-levels.json", "/v1/log/levels"),
		path("log.ndjson", fmt.Sprintf("/v1/log?lines=%d", bundleLog)), path("metrics.txt", "/v1/metrics"),
		file("config.toml", "config.toml"), file("genesis.json", "genesis.json"), file("running.json", "run/replica.json"),
		file("addresses.json", "data/peers.json"),
		{"replica.log", itemTime, true, func(_ context.Context, w io.Writer) error {
			return copyFile(filepath.Join(home, netup.LogFile), w, -maxLogFile)
		}},
		{"disk.json", itemTime, true, func(ctx context.Context, w io.Writer) error {
			use, err := diskUse(ctx, home)
			return errors.Join(err, writeJSON(w, use))
		}},
		profile("goroutine", 0), profile("heap", 0),
	}
	if cpu > 0 {
		items = append(items, profile("cpu", cpu))
	}
	return items
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(v)
}

// optionalFiles are files that a home may lack: only net up writes a log, a replica that does not run has published no
// address, and one that has just started has written no addresses of peers.
var optionalFiles = []string{netup.LogFile, "replica.json", "peers.json"}

// copyFile copies a file, at most so many bytes; with a negative number the last bytes. A missing file is an error if each
// home has it.
func copyFile(name string, w io.Writer, most int64) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) && slices.Contains(optionalFiles, filepath.Base(name)) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if most < 0 {
		st, err := f.Stat()
		if err != nil {
			return err
		}
		if _, err := f.Seek(max(0, st.Size()+most), io.SeekStart); err != nil {
			return err
		}
		most = -most
	}
	_, err = io.Copy(w, io.LimitReader(f, most))
	return err
}

// writeBundle collects the items and writes the archive. Items that fail are listed in errors.json. If the replica does
// not answer at all, its further items are not waited for.
func writeBundle(ctx context.Context, w io.Writer, items []bundleItem, secrets [][]byte, r *bundleResult) error {
	zipped := gzip.NewWriter(w)
	out := tar.NewWriter(zipped)
	now := time.Now()
	add := func(name string, content []byte) error {
		r.Items = append(r.Items, name)
		if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: now}); err != nil {
			return err
		}
		_, err := out.Write(content)
		return err
	}
	r.Errors = []itemError{}
	var gone error
	for _, item := range items {
		var content bytes.Buffer
		err := gone
		if err == nil || item.local {
			err = collectItem(ctx, item, &content)
		}
		if errors.Is(err, admin.ErrUnreachable) || errors.Is(err, admin.ErrNoSocket) {
			gone = err
		}
		if ctx.Err() != nil {
			return output.Interrupted("interrupted")
		}
		if err == nil && containsSecret(content.Bytes(), secrets) {
			err = errors.New("it contains a secret key, and is left out")
			content.Reset()
		}
		if err != nil {
			r.Errors = append(r.Errors, itemError{item.name, err.Error()})
			continue
		}
		if content.Len() == 0 {
			continue
		}
		if err := add(item.name, content.Bytes()); err != nil {
			return fmt.Errorf("write the archive: %w", err)
		}
	}
	var list bytes.Buffer
	err := writeJSON(&list, r.Errors)
	if err == nil && containsSecret(list.Bytes(), secrets) {
		err = errors.New("an error contains a secret key")
	}
	if err == nil {
		err = add("errors.json", list.Bytes())
	}
	if err = errors.Join(err, out.Close(), zipped.Close()); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	return nil
}

// collectItem writes an item within its time and size.
func collectItem(ctx context.Context, item bundleItem, w *bytes.Buffer) error {
	ctx, cancel := context.WithTimeout(ctx, item.limit)
	defer cancel()
	err := item.write(ctx, w)
	if err == nil && w.Len() > maxItem {
		err = fmt.Errorf("it has more than %d bytes", maxItem)
	}
	return err
}

// diskKinds are the kinds of files of a home, by the beginning of their path.
var diskKinds = []struct{ kind, prefix string }{
	{"consensus store", "data/consensus/"}, {"ledger store", "data/ledger/"}, {"log", "replica.log"}, {"keys", "keys/"},
	{"other", ""},
}

// diskReport is the disk use of a home.
type diskReport struct {
	Home  string     `json:"home"`
	Kinds []kindSize `json:"kinds"`
	Free  uint64     `json:"free_bytes"` // of the file system, for this user
	Total uint64     `json:"total_bytes"`
}

type kindSize struct {
	Kind  string `json:"kind"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

// diskUse adds up the files of a home by kind. Files that vanish meanwhile do not count.
func diskUse(ctx context.Context, home string) (*diskReport, error) {
	r := &diskReport{Home: home}
	for _, k := range diskKinds {
		r.Kinds = append(r.Kinds, kindSize{Kind: k.kind})
	}
	err := filepath.WalkDir(home, func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir():
			return nil
		}
		st, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it has vanished
		}
		rel, err := filepath.Rel(home, name)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(diskKinds, func(k struct{ kind, prefix string }) bool { return strings.HasPrefix(filepath.ToSlash(rel), k.prefix) })
		r.Kinds[i].Files++
		r.Kinds[i].Bytes += st.Size()
		return nil
	})
	var fsys syscall.Statfs_t
	if statErr := syscall.Statfs(home, &fsys); statErr == nil {
		r.Free, r.Total = fsys.Bavail*uint64(fsys.Bsize), fsys.Blocks*uint64(fsys.Bsize)
	}
	return r, err
}

// secretsOf lists the forms of each secret key of a home that an archive must not contain: the key itself, in hexadecimal
// and in base64.
func secretsOf(home string) ([][]byte, error) {
	files, err := filepath.Glob(filepath.Join(home, "keys", "*"))
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	var out [][]byte
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("the keys of the home are needed to keep them out of the archive: %w", err)
		}
		var f struct {
			Seed string `json:"seed"`
		}
		if err := json.Unmarshal(raw, &f); err != nil || f.Seed == "" {
			return nil, fmt.Errorf("%s is not a key file: an archive could contain its secret", name)
		}
		out = append(out, secretForms(f.Seed)...)
	}
	return out, nil
}

// secretForms lists the forms of a secret that is given in hexadecimal.
func secretForms(text string) [][]byte {
	out := [][]byte{[]byte(strings.ToLower(text)), []byte(strings.ToUpper(text))}
	seed, err := hex.DecodeString(text)
	if err != nil {
		return out
	}
	out = append(out, seed)
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		// In a longer base64 text the seed can begin at each of three places. All but the first and last characters of its
		// text depend on the seed alone.
		for shift := range 3 {
			long := e.EncodeToString(append(make([]byte, shift), seed...))
			out = append(out, []byte(long[4:len(long)-2]))
		}
	}
	return out
}

func containsSecret(text []byte, secrets [][]byte) bool {
	return slices.ContainsFunc(secrets, func(s []byte) bool { return bytes.Contains(text, s) })
}
