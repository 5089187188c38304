package output

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// Pipe is standard output or standard error of a process that ignores SIGPIPE. It reports when its reader is gone.
type Pipe struct {
	file   *os.File
	broken func()
}

// NewPipe returns a pipe that calls broken when a write finds that the reader has closed it.
func NewPipe(f *os.File, broken func()) *Pipe { return &Pipe{f, broken} }

// Write implements io.Writer.
func (p *Pipe) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		p.broken()
	}
	return n, err
}

// fileOf is the file behind a writer, nil if the writer is not a file.
func fileOf(w io.Writer) *os.File {
	switch w := w.(type) {
	case *os.File:
		return w
	case *Pipe:
		return w.file
	}
	return nil
}
