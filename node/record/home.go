package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Names in a home and in the directory of a recording.
const (
	armedFile     = "record-next.json"
	recordingsDir = "recordings"
	InputsFile    = "inputs"
	GenesisFile   = "genesis.json"
)

// Limits of a recording.
type Limits struct {
	For   time.Duration // since the start
	Bytes int64         // of the file of inputs
}

// armed is the content of the file that makes the next start record.
type armed struct {
	For   string `json:"for"`
	Bytes int64  `json:"bytes"`
}

// Arm makes the next start of a home's replica record.
func Arm(home string, l Limits) error {
	b, err := json.Marshal(armed{l.For.String(), l.Bytes})
	if err == nil {
		err = os.WriteFile(filepath.Join(home, armedFile), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("arm the recording: %w", err)
	}
	return nil
}

// Directory is the directory of all recordings of a home.
func Directory(home string) string { return filepath.Join(home, recordingsDir) }

// Disarm undoes [Arm] and reports whether it was armed.
func Disarm(home string) (bool, error) {
	err := os.Remove(filepath.Join(home, armedFile))
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("disarm the recording: %w", err)
}

// Prepare disarms the home, and makes the directory of a recording with the genesis and copies of the given stores, which
// no process has open. The result is empty if the home is not armed.
func Prepare(home, genesis string, stores []string, now time.Time) (dir string, l Limits, err error) {
	b, err := os.ReadFile(filepath.Join(home, armedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", l, nil
	}
	if err != nil {
		return "", l, fmt.Errorf("order to record: %w", err)
	}
	if _, err := Disarm(home); err != nil { // first, so that a start that fails is not repeated
		return "", l, err
	}
	var a armed
	if err = json.Unmarshal(b, &a); err == nil {
		l.Bytes = a.Bytes
		l.For, err = time.ParseDuration(a.For)
	}
	if err != nil || l.Bytes <= 0 || l.For <= 0 {
		return "", l, fmt.Errorf("order to record: %s is malformed", filepath.Join(home, armedFile))
	}
	dir = filepath.Join(Directory(home), now.UTC().Format("20060102T150405Z"))
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", l, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", l, err
	}
	if err = copyFile(genesis, filepath.Join(dir, GenesisFile)); err == nil {
		for _, store := range stores {
			if err = CopyStore(store, filepath.Join(dir, filepath.Base(store)), l.Bytes); err != nil {
				break
			}
		}
	}
	if err != nil {
		return "", l, errors.Join(fmt.Errorf("copy of the stores: %w", err), os.RemoveAll(dir))
	}
	return dir, l, nil
}

// CopyStore copies the directory of a store that no process has open. Tables and files of values are linked, since they never
// change; if the copy is on another file system, they are copied, up to limit bytes. A missing store has an empty copy.
func CopyStore(from, to string, limit int64) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	names, err := os.ReadDir(from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, x := range names {
		if x.IsDir() || x.Name() == "LOCK" {
			continue
		}
		source, target := filepath.Join(from, x.Name()), filepath.Join(to, x.Name())
		if strings.HasSuffix(x.Name(), ".sst") || strings.HasSuffix(x.Name(), ".blob") {
			if os.Link(source, target) == nil {
				continue
			}
			info, err := x.Info()
			if err != nil {
				return err
			}
			if limit -= info.Size(); limit < 0 {
				return fmt.Errorf("the tables of %s cannot be linked to %s and are larger than the limit of the recording", from, to)
			}
		}
		if err := copyFile(source, target); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
