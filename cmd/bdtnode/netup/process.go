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

// LogFile is the name of the log of a replica in its home.
const LogFile = "replica.log"

// killAfter bounds the time in which a replica stops; then it is killed.
const killAfter = 10 * time.Second

// Bounds of the part of a log that errors show.
const (
	logTailLines = 15
	logTailBytes = 8 << 10
)

// Signals that suspend and resume a process.
const (
	freeze = syscall.SIGSTOP
	resume = syscall.SIGCONT
)

// process is a replica that runs as a child process.
type process struct {
	home  string
	from  int64 // offset of this run in the log, in bytes
	cmd   *exec.Cmd
	life  io.Closer     // write end of the child's standard input; the child stops when it closes, which happens also when this process dies
	asked atomic.Bool   // this program killed it in order to start it again
	done  chan struct{} // closed when the child has ended

	// Valid after done is closed.
	err     error // error of the child's end
	endedAt time.Time
}

// spawn starts a program as the replica of a home, with further variables of the environment. Its output goes to the log in
// the home.
//
// The child gets a process group of its own. Otherwise Ctrl-C on the terminal would reach it before this process could
// stop all children in order. The child's standard input makes sure that it never outlives this process: it is a pipe
// whose other end only this process holds. (Linux could send a signal instead, but on the end of the thread that
// started the child, not of the process.)
func spawn(home, program string, env []string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(home, LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of a replica: %w", err)
	}
	defer log.Close() // the child has its own descriptor
	st, err := log.Stat()
	if err != nil {
		return nil, fmt.Errorf("log of a replica: %w", err)
	}
	p := &process{home: home, from: st.Size(), cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), env...)
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

// terminate sends the child the signal to stop.
func (p *process) terminate() { p.signal(syscall.SIGTERM) }

// signal sends the child a signal, unless it has ended.
func (p *process) signal(s syscall.Signal) {
	// The only possible error is that the child has ended.
	_ = p.cmd.Process.Signal(s)
}

// kill ends the child at once, and returns when it has ended.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
	p.life.Close()
}

// await waits for the child to end, and kills it at the deadline.
func (p *process) await(deadline time.Time) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.kill()
	}
	p.life.Close() // it is closed already if the child was killed
}

// cpuSeconds is the processor time used by a child that has ended.
func (p *process) cpuSeconds() float64 {
	return (p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()).Seconds()
}

// killed reports whether a signal from outside ended the child.
func (p *process) killed() bool {
	var exit *exec.ExitError
	if !errors.As(p.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && (status.Signal() == syscall.SIGKILL || status.Signal() == syscall.SIGTERM)
}

// ended describes the end of the child, with the last lines of its log.
func (p *process) ended() string {
	how := "it ended without an error"
	if p.err != nil {
		how = p.err.Error()
	}
	return how + "\n" + p.logTail()
}

// running returns the published addresses of the child. ok is false if it has not published any yet.
func (p *process) running() (config.Running, bool, error) {
	r, ok, err := config.ReadRunning(p.home)
	return r, ok && r.PID == p.pid(), err // a different pid is left over from an earlier run
}

// logTail returns the last lines that this run wrote to the log.
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
