package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/config"
)

// passphraseEnv has the passphrase of encrypted accounts, in place of --passphrase-file.
const passphraseEnv = config.EnvPassphrase

const maxPassphraseBytes = 4096

// keysFlag lets a command be told where accounts are kept.
func (a *app) keysFlag(c *cobra.Command) {
	c.PersistentFlags().StringVar(&a.keys, "keys", "",
		"directory of account keys (default: those of the running network, then "+defaultKeysHelp+")")
	c.PersistentFlags().StringVar(&a.passphraseFile, "passphrase-file", "",
		"file whose first line is the passphrase of encrypted accounts (or $"+passphraseEnv+"; else it is asked for)")
	paths(c.PersistentFlags(), "keys", "passphrase-file")
}

const defaultKeysHelp = "~/.local/share/bdtnode/keys"

// userKeys is the directory of a person's own accounts.
func userKeys() (string, error) {
	if d := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "bdtnode", "keys"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", output.Usage("no home directory to keep keys in: %v", err).WithHint("name a directory with --keys DIR")
	}
	return filepath.Join(home, ".local", "share", "bdtnode", "keys"), nil
}

// stores are the keystores to look an account up in, in this order. Extra, if not empty, goes before the person's own.
func (a *app) stores(extra string) ([]*keystore.Store, error) {
	if a.keys != "" {
		return []*keystore.Store{keystore.Open(a.keys)}, nil
	}
	var list []*keystore.Store
	if extra != "" {
		list = append(list, keystore.Open(extra))
	}
	own, err := userKeys()
	if err != nil && extra == "" {
		return nil, err
	}
	if err == nil {
		list = append(list, keystore.Open(own))
	}
	return list, nil
}

// account finds an account by name.
func (a *app) account(name, extra string) (keystore.Account, error) {
	list, err := a.stores(extra)
	if err != nil {
		return keystore.Account{}, err
	}
	looked := ""
	for _, s := range list {
		acc, err := s.Get(name)
		if err == nil || !errors.Is(err, keystore.ErrNotFound) {
			return acc, err
		}
		looked += " " + s.Dir()
	}
	return keystore.Account{}, output.NotFound("no account %q in%s", name, looked).
		WithHint("see bdtnode keys list, make one with bdtnode keys new %s, or name another directory with --keys", name)
}

// completeAccounts offers the names of accounts.
func (a *app) completeAccounts(*cobra.Command, []string, string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	list, err := a.stores(localAccounts())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, s := range list {
		accounts, err := s.List()
		if err != nil {
			continue // a damaged account is told of by commands, not while a line is typed
		}
		for _, acc := range accounts {
			names = append(names, acc.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// address reads an address, or finds that of an account.
func (a *app) address(s, extra string) (ledger.Address, error) {
	if len(s) == 2*digest.Size {
		addr, err := ledger.ParseAddress(s)
		if err != nil {
			return addr, output.Usage("%v", err)
		}
		return addr, nil
	}
	acc, err := a.account(s, extra)
	return acc.Address, err
}

// passphrase is the one to open accounts with. It asks on a terminal only if it was given nowhere.
func (a *app) passphrase(question string) (string, error) {
	if p, ok, err := a.givenPassphrase(); ok || err != nil {
		return p, err
	}
	return a.askPassphrase(question)
}

// givenPassphrase is the passphrase in a file or the environment, if there is one.
func (a *app) givenPassphrase() (p string, ok bool, err error) {
	if a.passphraseFile == "" {
		if p, ok = os.LookupEnv(passphraseEnv); ok && p == "" {
			return "", false, output.Usage("$%s is empty", passphraseEnv).
				WithHint("unset it to be asked, or give the passphrase there or with --passphrase-file FILE")
		}
		return p, ok, nil
	}
	f, err := os.Open(a.passphraseFile)
	if err != nil {
		return "", false, fmt.Errorf("passphrase file: %w", err)
	}
	defer f.Close()
	line := bufio.NewScanner(f)
	line.Buffer(nil, maxPassphraseBytes)
	line.Scan()
	if err := line.Err(); err != nil {
		return "", false, fmt.Errorf("passphrase file %s: %w", a.passphraseFile, err)
	}
	if p = string(bytes.TrimPrefix(bytes.TrimRight(line.Bytes(), "\r"), []byte("\ufeff"))); p == "" {
		return "", false, output.Usage("passphrase file %s: its first line is empty", a.passphraseFile)
	}
	return p, true, nil
}

func (a *app) askPassphrase(question string) (string, error) {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", output.Usage("a passphrase is needed and there is no terminal to ask on").
			WithHint("give it with --passphrase-file FILE or in $%s", passphraseEnv)
	}
	fmt.Fprint(a.print.Err, question+": ")
	p, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.print.Err)
	if err != nil {
		return "", fmt.Errorf("read passphrase: %w", err)
	}
	if len(p) == 0 {
		return "", output.Usage("the passphrase is empty")
	}
	return string(p), nil
}
