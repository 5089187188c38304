package output

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"golang.org/x/term"
)

// Printer writes the output of one command.
type Printer struct {
	JSON bool
	Out  io.Writer // data
	Err  io.Writer // progress, notes, errors
}

// Data prints the result of a command: v as one line of JSON, or the output of text with tabs aligned to columns.
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

// Clear clears the terminal before another drawing of the same data. It does nothing if the output is no terminal, or
// JSON.
func (p *Printer) Clear() {
	if f := fileOf(p.Out); f != nil && !p.JSON && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(p.Out, "\x1b[H\x1b[2J") // an error shows in the output that follows
	}
}

// Note prints a message for the user on standard error.
func (p *Printer) Note(format string, args ...any) {
	fmt.Fprintf(p.Err, format+"\n", args...)
}

// Live reports whether standard error is a terminal, so that progress can be redrawn in place.
func (p *Printer) Live() bool {
	f := fileOf(p.Err)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// Bars is the writer for progress bars. It is the file itself, because the library checks for a terminal on its own.
func (p *Printer) Bars() io.Writer {
	if f := fileOf(p.Err); f != nil {
		return f
	}
	return p.Err
}

// Width is the number of columns of the terminal on standard error, 0 if it is not a terminal or the width is unknown.
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
		// An error on standard error cannot be reported anywhere; the exit code is still correct.
		_ = json.NewEncoder(p.Err).Encode(map[string]*Failure{"error": f})
		return f.Exit
	}
	fmt.Fprintf(p.Err, "error: %s\n", f.Message)
	if f.Hint != "" {
		fmt.Fprintf(p.Err, "hint: %s\n", f.Hint)
	}
	return f.Exit
}
