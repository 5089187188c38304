package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/internal/spell"
)

// Annotations of flags.
const (
	wordsOf    = "bdtnode_words"     // the words that the flag accepts
	mayBeEmpty = "bdtnode_may_empty" // the empty string is a valid value
	isPath     = "bdtnode_path"      // the value is the path of a file or directory
)

// words declares that a flag accepts only the words of a list. checkValues refuses others, and completion offers these.
func words(c *cobra.Command, flag string, list ...string) {
	flags := c.Flags()
	if flags.Lookup(flag) == nil {
		flags = c.PersistentFlags()
	}
	cobra.CheckErr(flags.SetAnnotation(flag, wordsOf, list))
	cobra.CheckErr(c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)))
}

// paths declares that flags take paths of files or directories, which completion then offers.
func paths(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		cobra.CheckErr(flags.SetAnnotation(name, isPath, []string{"true"}))
	}
}

// finishFlags sets up all flags of a tree of commands: numbers are parsed as decimal, and completion offers files only
// for flags that take a path.
func finishFlags(c *cobra.Command) {
	for _, set := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
		set.VisitAll(func(f *pflag.Flag) {
			if form := decimalForms[f.Value.Type()]; form != nil {
				if _, done := f.Value.(decimal); !done {
					f.Value = decimal{f.Value, form}
				}
			}
			if f.Annotations[isPath] == nil && f.Annotations[wordsOf] == nil {
				// The only possible error is that a function is registered already.
				_ = c.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions)
			}
		})
	}
	if c.ValidArgsFunction == nil {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, sub := range c.Commands() {
		finishFlags(sub)
	}
}

// Syntax of decimal numbers.
var (
	wholeForm    = regexp.MustCompile(`^[+-]?[0-9]+$`)
	fractionForm = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)
	decimalForms = map[string]*regexp.Regexp{"int": wholeForm, "uint64": wholeForm, "float64": fractionForm}
)

// decimal is the value of a numeric flag. It accepts decimal notation only: the library would read 010 as eight and
// 0x10 as sixteen.
type decimal struct {
	pflag.Value
	form *regexp.Regexp
}

// Set implements pflag.Value.
func (d decimal) Set(text string) error {
	if !d.form.MatchString(text) {
		return errors.New("not a decimal number")
	}
	if d.form != wholeForm {
		return d.Value.Set(text)
	}
	digits := strings.TrimLeft(text, "+-")
	sign := text[:len(text)-len(digits)]
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		digits = "0"
	}
	return d.Value.Set(sign + digits)
}

// checkValues refuses values that are mistakes for any command: an empty string, which an unset shell variable leaves
// behind, and a word that the flag does not accept.
func checkValues(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		switch list := f.Annotations[wordsOf]; {
		case err != nil:
		case list != nil && !slices.Contains(list, f.Value.String()):
			err = output.Usage("--%s %q is unknown: use %s", f.Name, f.Value, strings.Join(list, ", "))
		case list == nil && f.Value.Type() == "string" && f.Value.String() == "" && f.Annotations[mayBeEmpty] == nil:
			err = output.Usage("--%s is empty: give it a value, or leave the flag out", f.Name)
		}
	})
	return err
}

// flagError turns an error of flag parsing into a usage error, and suggests the flag with the most similar name.
func flagError(cmd *cobra.Command, err error) error {
	f := output.Usage("%v", err).WithHint("see %s --help", cmd.CommandPath())
	var missing *pflag.NotExistError
	if errors.As(err, &missing) && len(missing.GetSpecifiedName()) > 1 {
		if near := nearestFlag(cmd, missing.GetSpecifiedName()); near != "" {
			return f.WithHint("did you mean --%s?", near)
		}
	}
	return f
}

func nearestFlag(cmd *cobra.Command, typed string) string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return spell.Nearest(typed, names)
}

// textOf converts a list of a string type to strings.
func textOf[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, word := range list {
		out[i] = string(word)
	}
	return out
}
