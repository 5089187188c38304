// Package keystore keeps account keys in files of a directory, one file for each account. A file is encrypted if a
// passphrase is given.
package keystore

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
)

// fileVersion is the version of the format of an account file.
const fileVersion = 1

const (
	fileSuffix   = ".json"
	fileKind     = "account"
	maxFileBytes = 16 << 10
)

// Errors that commands distinguish with errors.Is.
var (
	ErrNotFound   = errors.New("no such account")
	ErrExists     = errors.New("account exists already")
	ErrPassphrase = errors.New("wrong passphrase")
)

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

// Account is the public side of a key.
type Account struct {
	Name      string         `json:"name"`
	Address   ledger.Address `json:"address"`
	PublicKey sig.PublicKey  `json:"public_key"`
	Encrypted bool           `json:"encrypted"`

	sealed string // armored age file, or the seed in hexadecimal
}

// accountFile is the JSON form of an account. Exactly one of Seed and Sealed is set.
type accountFile struct {
	Version   int            `json:"version"`
	Kind      string         `json:"kind"`
	Address   ledger.Address `json:"address"`
	PublicKey sig.PublicKey  `json:"public_key"`
	Seed      string         `json:"seed,omitempty"`   // hexadecimal
	Sealed    string         `json:"sealed,omitempty"` // the seed in hexadecimal, encrypted by age under a passphrase
}

// Store is a directory of accounts. It is created with its first account.
type Store struct {
	dir string
	// workFactor is the logarithm of the cost of scrypt: 2^18 takes about a second for each try of a passphrase.
	workFactor int
}

// Open returns the keystore in dir. It reads nothing yet.
func Open(dir string) *Store { return &Store{dir: dir, workFactor: 18} }

// Dir is the path of the directory.
func (s *Store) Dir() string { return s.dir }

// Make creates an account with a new key. It is not saved in any store.
func Make(name string) (Account, error) {
	if !validName.MatchString(name) {
		return Account{}, fmt.Errorf("account name %q: use 1 to 32 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit", name)
	}
	key, err := sig.GenerateEd25519(rand.Reader)
	if err != nil {
		return Account{}, err
	}
	return Account{
		Name: name, Address: ledger.AddressOf(key.Public()), PublicKey: key.Public(),
		sealed: hex.EncodeToString(key.Seed()),
	}, nil
}

// Save stores an account of [Make]. With an empty passphrase the file is unencrypted and readable by its owner only. It
// returns the account as stored. The error is [ErrExists] if the store has an account of that name.
func (s *Store) Save(a Account, passphrase string) (Account, error) {
	f := accountFile{Version: fileVersion, Kind: fileKind, Address: a.Address, PublicKey: a.PublicKey}
	if passphrase == "" {
		f.Seed = a.sealed
	} else {
		sealed, err := s.seal(a.sealed, passphrase)
		if err != nil {
			return Account{}, err
		}
		f.Sealed = sealed
	}
	raw, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return Account{}, fmt.Errorf("encode account %s: %w", a.Name, err)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return Account{}, fmt.Errorf("create keystore: %w", err)
	}
	out, err := os.OpenFile(s.path(a.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return Account{}, fmt.Errorf("%w: %s in %s", ErrExists, a.Name, s.dir)
	}
	if err != nil {
		return Account{}, fmt.Errorf("write account %s: %w", a.Name, err)
	}
	_, err = out.Write(append(raw, '\n'))
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return Account{}, fmt.Errorf("write account %s: %w", a.Name, err)
	}
	a.Encrypted, a.sealed = passphrase != "", f.Seed+f.Sealed
	return a, nil
}

// New creates an account and saves it. Errors are those of [Store.Save].
func (s *Store) New(name, passphrase string) (Account, error) {
	a, err := Make(name)
	if err != nil {
		return Account{}, err
	}
	return s.Save(a, passphrase)
}

// Get reads the public part of an account, without a passphrase. The error is [ErrNotFound] if there is no such
// account.
func (s *Store) Get(name string) (Account, error) {
	if !validName.MatchString(name) {
		return Account{}, fmt.Errorf("%w: %q is not a valid account name", ErrNotFound, name)
	}
	path := s.path(name)
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Account{}, fmt.Errorf("%w: %s in %s", ErrNotFound, name, s.dir)
	}
	if err != nil {
		return Account{}, fmt.Errorf("read account %s: %w", name, err)
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, maxFileBytes))
	if err != nil {
		return Account{}, fmt.Errorf("read account %s: %w", name, err)
	}
	var f accountFile
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if dec.Decode(&f) != nil { // the decoder's error may quote the secret
		return Account{}, fmt.Errorf("%s is damaged: not a JSON account file of version %d", path, fileVersion)
	}
	switch {
	case f.Version != fileVersion || f.Kind != fileKind:
		return Account{}, fmt.Errorf("%s is a %q of version %d, this program reads an %q of version %d", path, f.Kind, f.Version, fileKind, fileVersion)
	case ledger.AddressOf(f.PublicKey) != f.Address:
		return Account{}, fmt.Errorf("%s is damaged: address does not belong to public_key", path)
	case (f.Seed == "") == (f.Sealed == ""):
		return Account{}, fmt.Errorf("%s is damaged: it must have exactly one of seed and sealed", path)
	}
	if f.Seed != "" {
		if st, err := in.Stat(); err == nil && st.Mode().Perm()&0o077 != 0 {
			return Account{}, fmt.Errorf("%s has mode %04o, so others can read it: run chmod 0600 %s", path, st.Mode().Perm(), path)
		}
	}
	return Account{Name: name, Address: f.Address, PublicKey: f.PublicKey, Encrypted: f.Sealed != "", sealed: f.Seed + f.Sealed}, nil
}

// List reads the public parts of all accounts, sorted by name. It returns none if the directory does not exist.
func (s *Store) List() ([]Account, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read keystore: %w", err)
	}
	accounts := []Account{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), fileSuffix)
		if !ok || !validName.MatchString(name) {
			continue
		}
		a, err := s.Get(name)
		if err != nil {
			return nil, err
		}
		accounts = append(accounts, a)
	}
	slices.SortFunc(accounts, func(a, b Account) int { return strings.Compare(a.Name, b.Name) })
	return accounts, nil
}

// Unlock returns the secret key of the account. It calls passphrase only if the account is encrypted. The error is
// [ErrPassphrase] if the passphrase is wrong.
func (a Account) Unlock(passphrase func() (string, error)) (*sig.Ed25519Key, error) {
	text := a.sealed
	if a.Encrypted {
		p, err := passphrase()
		if err != nil {
			return nil, err
		}
		if text, err = open(a.sealed, p); err != nil {
			return nil, fmt.Errorf("account %s: %w", a.Name, err)
		}
	}
	seed, err := hex.DecodeString(text)
	if err != nil || len(seed) != sig.SeedSize {
		return nil, fmt.Errorf("account %s: its seed is damaged", a.Name)
	}
	key, err := sig.Ed25519FromSeed(seed)
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", a.Name, err)
	}
	if key.Public() != a.PublicKey {
		return nil, fmt.Errorf("account %s is damaged: its seed does not belong to public_key", a.Name)
	}
	return key, nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name+fileSuffix) }

func (s *Store) seal(text, passphrase string) (string, error) {
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return "", fmt.Errorf("passphrase: %w", err)
	}
	to.SetWorkFactor(s.workFactor)
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, to)
	if err != nil {
		return "", fmt.Errorf("encrypt key: %w", err)
	}
	_, err = io.WriteString(w, text)
	if err := errors.Join(err, w.Close(), armored.Close()); err != nil {
		return "", fmt.Errorf("encrypt key: %w", err)
	}
	return out.String(), nil
}

func open(sealed, passphrase string) (string, error) {
	id, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrPassphrase, err)
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), id)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return "", ErrPassphrase
	}
	if err != nil {
		return "", fmt.Errorf("decrypt key: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxFileBytes))
	if err != nil {
		return "", fmt.Errorf("decrypt key: %w", err)
	}
	return string(text), nil
}
