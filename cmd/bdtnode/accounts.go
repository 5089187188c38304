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

// passphraseEnv is the environment variable with the passphrase of encrypted accounts. --passphrase-file overrides it.
const passphraseEnv = config.EnvPassphrase

const maxPassphraseBytes = 4096

// keysFlag adds the flags --keys and --passphrase-file to a command and its subcommands.
func (a *app) keysFlag(c *cobra.Command) {
	c.PersistentFlags().StringVar(&a.keys, "keys", "",
		"directory of account keys (default: the keys of the running network, then "+defaultKeysHelp+")")
	c.PersistentFlags().StringVar(&a.passphraseFile, "passphrase-file", "",
		"file whose first line is the passphrase of encrypted accounts (default: $"+passphraseEnv+", else a prompt on the terminal)")
	paths(c.PersistentFlags(), "keys", "passphrase-file")
}

const defaultKeysHelp = "~/.local/share/bdtnode/keys"

// userKeys is the directory of the user's own accounts: $XDG_DATA_HOME/bdtnode/keys, or ~/.local/share/bdtnode/keys.
func userKeys() (string, error) {
	if d := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "bdtnode", "keys"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", output.Usage("the directory of account keys is unknown, since there is no home directory: %v", err).WithHint("name a directory with --keys DIR")
	}
	return filepath.Join(home, ".local", "share", "bdtnode", "keys"), nil
}

// stores returns the keystores in which an account is looked up, in this order. If extra is not empty, it comes before
// the user's own directory. With --keys, only that directory is used.
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

// account finds an account by name. The error is output.NotFound if no keystore has it.
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
	return keystore.Account{}, output.NotFound("account %q not found in%s", name, looked).
		WithHint("list accounts with bdtnode keys list, create one with bdtnode keys new %s, or choose another directory with --keys DIR", name)
}

// completeAccounts returns the names of accounts for shell completion.
func (a *app) completeAccounts(*cobra.Command, []string, string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	list, err := a.stores(localAccounts())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, s := range list {
		accounts, err := s.List()
		if err != nil {
			continue // commands report a damaged account; completion skips it
		}
		for _, acc := range accounts {
			names = append(names, acc.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// address parses an address in hexadecimal. Any other text is taken as the name of an account.
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

// passphrase returns the passphrase for opening accounts: from --passphrase-file, else from the environment, else from
// a prompt on the terminal.
func (a *app) passphrase(question string) (string, error) {
	if p, ok, err := a.givenPassphrase(); ok || err != nil {
		return p, err
	}
	return a.askPassphrase(question)
}

// givenPassphrase returns the passphrase from --passphrase-file or the environment. ok is false if neither is set.
func (a *app) givenPassphrase() (p string, ok bool, err error) {
	if a.passphraseFile == "" {
		if p, ok = os.LookupEnv(passphraseEnv); ok && p == "" {
			return "", false, output.Usage("$%s is empty", passphraseEnv).
				WithHint("set it to the passphrase, use --passphrase-file FILE, or unset it to get a prompt")
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
		return "", false, output.Usage("passphrase file %s: the first line is empty", a.passphraseFile)
	}
	return p, true, nil
}

func (a *app) askPassphrase(question string) (string, error) {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", output.Usage("a passphrase is needed, and standard input is not a terminal").
			WithHint("use --passphrase-file FILE or set $%s", passphraseEnv)
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
