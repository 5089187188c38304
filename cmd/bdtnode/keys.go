package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/registry"
	"bdtnode/shard"
)

func newKeys(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "keys",
		Short: "Create and show account keys",
		Long: `Each account is a file in a directory. The default directory is ` + defaultKeysHelp + `.
Commands that look up an account also search the funded accounts of a network running on this machine.`,
	})
	a.keysFlag(c)
	a.nodeFlag(c)
	c.AddCommand(newKeysNew(a), newKeysList(a), newKeysShow(a))
	return c
}

func newKeysNew(a *app) *cobra.Command {
	var encrypt bool
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Create an account with a new key",
		Long: `Creates an account with a new key. The file is encrypted if a passphrase is given: with --passphrase-file, in the
environment, or on the terminal with --encrypt. Otherwise only file permissions protect the key.`,
		Example: `  bdtnode keys new erin --encrypt
  bdtnode keys new erin --passphrase-file ~/.bdt-passphrase -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := a.keys
			if dir == "" {
				var err error
				if dir, err = userKeys(); err != nil {
					return err
				}
			}
			pass, given, err := a.givenPassphrase()
			if err == nil && !given && encrypt {
				pass, err = a.newPassphrase()
			}
			if err != nil {
				return err
			}
			acc, err := keystore.Open(dir).New(args[0], pass)
			if errors.Is(err, keystore.ErrExists) {
				return fmt.Errorf("%w: a key is never overwritten, choose another name", err)
			}
			if err != nil {
				return err
			}
			if pass == "" {
				a.print.Note("The key is not encrypted: anyone who can read %s can spend from the account. Use --encrypt to protect it with a passphrase.",
					filepath.Join(dir, acc.Name+".json"))
			}
			return a.print.Data(acc, func(w io.Writer) { printAccounts(w, []keystore.Account{acc}) })
		},
	}
	c.Flags().BoolVar(&encrypt, "encrypt", false, "encrypt the key with a passphrase that is asked for on the terminal (default false)")
	return c
}

func (a *app) newPassphrase() (string, error) {
	first, err := a.askPassphrase("New passphrase")
	if err != nil {
		return "", err
	}
	again, err := a.askPassphrase("Repeat the passphrase")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", output.Usage("the two passphrases differ")
	}
	return first, nil
}

func newKeysList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List accounts",
		Example: "  bdtnode keys list",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			list, err := a.stores(localAccounts())
			if err != nil {
				return err
			}
			all := []keystore.Account{}
			for _, s := range list {
				accounts, err := s.List()
				if err != nil {
					return err
				}
				all = append(all, accounts...)
			}
			return a.print.Data(map[string]any{"accounts": all}, func(w io.Writer) { printAccounts(w, all) })
		},
	}
}

// shownAccount is the output of keys show.
type shownAccount struct {
	keystore.Account
	Network string  `json:"network,omitempty"`
	Shard   *uint16 `json:"shard,omitempty"`  // home shard; absent if no network is known
	Secret  string  `json:"secret,omitempty"` // seed in hexadecimal
}

func newKeysShow(a *app) *cobra.Command {
	var secret bool
	c := &cobra.Command{
		Use:               "show NAME",
		ValidArgsFunction: a.completeAccounts,
		Short:             "Show an account's address, public key and home shard",
		Example: `  bdtnode keys show alice
  bdtnode keys show alice --secret   # anyone who sees the key can spend from the account`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			acc, err := a.account(args[0], localAccounts())
			if err != nil {
				return err
			}
			shown := shownAccount{Account: acc}
			net, err := a.connect(cmd.Context())
			switch {
			case err == nil:
				home := shard.Home(acc.Address, net.status.Shards)
				shown.Network, shown.Shard = net.status.Network, &home
			case a.node != "": // given by the user, so it must answer
				return err
			}
			if secret {
				key, err := acc.Unlock(func() (string, error) { return a.passphrase("Passphrase of " + acc.Name) })
				if err != nil {
					return err
				}
				shown.Secret = hex.EncodeToString(key.Seed())
			}
			return a.print.Data(shown, func(w io.Writer) {
				fmt.Fprintf(w, "name\t%s\naddress\t%s\npublic key\t%s\nencrypted\t%t\n", acc.Name, acc.Address, acc.PublicKey, acc.Encrypted)
				if shown.Shard != nil {
					fmt.Fprintf(w, "home shard\t%d\nnetwork\t%s\n", *shown.Shard, shown.Network)
				}
				if secret {
					fmt.Fprintf(w, "secret\t%s\n", shown.Secret)
				}
			})
		},
	}
	c.Flags().BoolVar(&secret, "secret", false, "also print the secret key, in hexadecimal (default false)")
	return c
}

// localAccounts is the keystore of the newest network on this machine, empty if there is none.
func localAccounts() string {
	running, err := registry.List(registry.Dir())
	if err != nil || len(running) == 0 {
		return ""
	}
	return running[0].Accounts
}

func printAccounts(w io.Writer, accounts []keystore.Account) {
	fmt.Fprintln(w, "NAME\tADDRESS\tENCRYPTED")
	for _, acc := range accounts {
		fmt.Fprintf(w, "%s\t%s\t%t\n", acc.Name, acc.Address, acc.Encrypted)
	}
}
