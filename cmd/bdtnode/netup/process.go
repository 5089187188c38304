package netup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"bdtnode/node/config"
)

// LogFile is the log of a replica in its home.
const LogFile = "replica.log"

// killAfter is how long a replica may take to stop before it is killed.
const killAfter = 10 * time.Second

// Bounds of what is shown of a log.
const (
	logTailLines = 15
	logTailBytes = 8 << 10
)

// Signals that stop a process in the midst of what it does, and let it go on.
const (
	freeze = syscall.SIGSTOP
	resume = syscall.SIGCONT
)

// process is one replica running as a child of this process.
type process struct {
	home  string
	from  int64 // where this run begins in the log
	cmd   *exec.Cmd
	life  io.Closer     // write end of the child's standard input; it stops when this closes, so also when we die
	asked atomic.Bool   // this program killed it, for the replica to come back
	done  chan struct{} // closed once the child is gone

	// Read after done.
	err     error // how it ended
	endedAt time.Time
}

// spawn starts a program as the replica of a home. Its output goes to the log in the home.
//
// The child gets a process group of its own, or Ctrl-C on the terminal would reach it before this process could stop
// all of them in order. That it never outlives this process, however this one ends, is by its standard input: a pipe
// whose other end only this process holds. (Linux could send a signal instead, but on the death of the thread that
// started the child, not of the process.)
func spawn(home, program string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(home, LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of a replica: %w", err)
	}
	defer log.Close() // the child has its own
	st, err := log.Stat()
	if err != nil {
		return nil, fmt.Errorf("log of a replica: %w", err)
	}
	p := &process{home: home, from: st.Size(), cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.life, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start a replica: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a replica: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		p.endedAt = time.Now()
		close(p.done)
	}()
	return p, nil
}

// pid is the child's process id.
func (p *process) pid() int { return p.cmd.Process.Pid }

// gone reports whether the child has ended.
func (p *process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// terminate asks the child to stop.
func (p *process) terminate() { p.signal(syscall.SIGTERM) }

// signal sends the child a signal, unless it is gone.
func (p *process) signal(s syscall.Signal) {
	// The only error is that it is gone already.
	_ = p.cmd.Process.Signal(s)
}

// kill ends the child at once, and returns when it is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
	p.life.Close()
}

// await waits for the child to end, and kills it if it does not by the deadline.
func (p *process) await(deadline time.Time) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.kill()
	}
	p.life.Close() // closed before, if it was killed
}

// cpuSeconds is the processor time that a child that is gone has used.
func (p *process) cpuSeconds() float64 {
	return (p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()).Seconds()
}

// killed reports whether a signal from elsewhere ended the child, rather than a fault of its own.
func (p *process) killed() bool {
	var exit *exec.ExitError
	if !errors.As(p.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && (status.Signal() == syscall.SIGKILL || status.Signal() == syscall.SIGTERM)
}

// ended says how the child ended, with the last lines of its log.
func (p *process) ended() string {
	how := "it ended without an error"
	if p.err != nil {
		how = p.err.Error()
	}
	return how + "\n" + p.logTail()
}

// running is where the child can be reached, once it has said so.
func (p *process) running() (config.Running, bool, error) {
	r, ok, err := config.ReadRunning(p.home)
	return r, ok && r.PID == p.pid(), err // another pid is left from an earlier run
}

// logTail is the last lines that this run wrote to the log.
func (p *process) logTail() string {
	path := filepath.Join(p.home, LogFile)
	f, err := os.Open(path)
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	defer f.Close()
	from := p.from
	if st, err := f.Stat(); err == nil {
		from = max(from, st.Size()-logTailBytes)
	}
	raw, err := io.ReadAll(io.NewSectionReader(f, from, logTailBytes))
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	lines := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	lines = lines[max(0, len(lines)-logTailLines):]
	return "last lines of " + path + ":\n  " + strings.Join(lines, "\n  ")
}
