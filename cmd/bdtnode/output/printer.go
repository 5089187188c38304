package output

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"golang.org/x/term"
)

// Printer writes for one command.
type Printer struct {
	JSON bool
	Out  io.Writer // data
	Err  io.Writer // progress, notes, errors
}

// Data prints a command's result: v as one line of JSON, or what text writes, its tabs aligned to columns.
func (p *Printer) Data(v any, text func(w io.Writer)) error {
	if p.JSON {
		enc := json.NewEncoder(p.Out)
		enc.SetEscapeHTML(false)
		return wrapOutput(enc.Encode(v))
	}
	w := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	text(w)
	return wrapOutput(w.Flush())
}

func wrapOutput(err error) error {
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// Note tells a person something on standard error.
func (p *Printer) Note(format string, args ...any) {
	fmt.Fprintf(p.Err, format+"\n", args...)
}

// Live reports whether standard error is a terminal, so that progress may be drawn over itself.
func (p *Printer) Live() bool {
	f := fileOf(p.Err)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// Bars is where progress bars are drawn: the library that does looks for a terminal itself.
func (p *Printer) Bars() io.Writer {
	if f := fileOf(p.Err); f != nil {
		return f
	}
	return p.Err
}

// Width is the number of columns of the terminal that standard error is, 0 if it is none or does not tell.
func (p *Printer) Width() int {
	f := fileOf(p.Err)
	if f == nil {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// Fail reports err, if there is one, and returns the exit code.
func (p *Printer) Fail(err error) int {
	f := FailureOf(err)
	if f == nil {
		return ExitOK
	}
	if p.JSON {
		// A broken standard error cannot be reported anywhere; the exit code still tells.
		_ = json.NewEncoder(p.Err).Encode(map[string]*Failure{"error": f})
		return f.Exit
	}
	fmt.Fprintf(p.Err, "error: %s\n", f.Message)
	if f.Hint != "" {
		fmt.Fprintf(p.Err, "hint: %s\n", f.Hint)
	}
	return f.Exit
}
