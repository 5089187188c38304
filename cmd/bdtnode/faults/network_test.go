package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
	"bdtnode/node/config"
)

const (
	perShard = 4
	within   = 2 * time.Minute        // bound of every wait; no test measures time
	pollWait = 200 * time.Millisecond // between two questions
)

// network is a network of which each replica is a process.
type network struct {
	t        *testing.T
	dir      string
	replicas []*replica
}

// replica is one replica and its present process.
type replica struct {
	n         *network
	shard     int
	index     int
	home      string
	namespace string // path of its network namespace, empty for the test's own
	cmd       *exec.Cmd
	life      io.Closer     // the process ends when it is closed
	ended     chan struct{} // closed when the process has ended
	stopped   bool          // it is suspended
}

// options are the settings of a network.
type options struct {
	shards   int
	place    func(shard, index int) config.Place // nil for the loopback interface
	fundings []netup.Funding
	absent   []int // replicas of shard 0 that are not started
	altered  map[int][]string
}

// create makes the homes of a network, and starts the replicas that are not absent, those in altered with the altered
// program and with that environment. It returns when all of them are ready.
func create(t *testing.T, o options) *network {
	t.Helper()
	n := &network{t: t, dir: filepath.Join(t.TempDir(), "net")}
	o.shards = max(1, o.shards)
	places := make([][]config.Place, o.shards)
	for s := range places {
		for i := range perShard {
			p := config.Place{Listen: []string{"/ip4/127.0.0.1/tcp/0"}, API: "127.0.0.1:0"}
			if s == 0 && i == 0 {
				p.Listen[0] = fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", freePort(t))
			}
			if o.place != nil {
				p = o.place(s, i)
			}
			places[s] = append(places[s], p)
		}
	}
	made := config.Network{Name: "faulty", Time: time.Now(), Horizon: config.DefaultHorizon, Places: places}
	if _, err := netup.Create(n.dir, made, append([]netup.Funding{netup.People()}, o.fundings...)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	for s := range o.shards {
		for i := range perShard {
			n.replicas = append(n.replicas, &replica{n: n, shard: s, index: i, home: config.HomeDir(n.dir, uint16(s), i)})
		}
	}
	return n
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// network starts a network and waits until the started replicas are ready.
func start(t *testing.T, o options) *network {
	t.Helper()
	n := create(t, o)
	for i, r := range n.replicas {
		if r.shard == 0 && slices.Contains(o.absent, i) {
			continue
		}
		if env := o.altered[i]; env != nil {
			r.run(alteredProgram(t), env)
		} else {
			r.run(ordinary(t), nil)
		}
	}
	n.ready(n.running()...)
	return n
}

func ordinary(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func alteredProgram(t *testing.T) string {
	t.Helper()
	path, err := altered()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// command is a program in the replica's namespace.
func command(namespace string, args ...string) *exec.Cmd {
	if namespace == "" {
		return exec.Command(args[0], args[1:]...)
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	text, err := json.Marshal(launch{Namespace: namespace, Program: args})
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), launchEnv+"="+string(text))
	return cmd
}

// run starts the process of the replica, with flags of start after its home.
func (r *replica) run(program string, env []string, flags ...string) {
	t := r.n.t
	t.Helper()
	log, err := os.OpenFile(r.logPath(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the process has its own descriptor
	cmd := command(r.namespace, append([]string{program, "start", "--supervised", "--home", r.home}, flags...)...)
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = log, log
	life, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.cmd, r.life, r.ended = cmd, life, make(chan struct{})
	ended := r.ended
	go func() {
		_ = cmd.Wait() // its state tells how it ended
		close(ended)
	}()
}

func (r *replica) name() string { return fmt.Sprintf("%d/%d", r.shard, r.index) }

func (r *replica) logPath() string { return filepath.Join(r.home, netup.LogFile) }

// runs reports whether the replica has a process.
func (r *replica) runs() bool {
	if r.cmd == nil {
		return false
	}
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

// kill ends the process of the replica.
func (r *replica) kill() {
	if !r.runs() {
		return
	}
	_ = r.cmd.Process.Kill() // fails only if it has ended
	<-r.ended
	_ = r.life.Close()
	r.stopped = false
}

// suspend suspends the process, and resume resumes it.
func (r *replica) suspend() {
	if err := r.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		r.n.t.Fatal(err)
	}
	r.stopped = true
}

func (r *replica) resume() {
	if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		r.n.t.Fatal(err)
	}
	r.stopped = false
}

// running are the replicas with a process that is not suspended.
func (n *network) running() (out []*replica) {
	for _, r := range n.replicas {
		if r.runs() && !r.stopped {
			out = append(out, r)
		}
	}
	return out
}

func (n *network) stop() {
	for _, r := range n.replicas {
		if r.cmd != nil && n.t.Failed() {
			n.t.Logf("log of %s:\n%s", r.name(), tail(r.logPath()))
		}
		r.kill()
	}
}

// tail is the end of a file.
func tail(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-6000):])
}

// url is the address of the API of the replica's process. It waits for it.
func (r *replica) url() (url string) {
	r.n.await("the API of "+r.name(), func() error {
		at, ok, err := config.ReadRunning(r.home)
		if err != nil || !ok || !r.runs() || r.namespace == "" && at.PID != r.cmd.Process.Pid {
			return fmt.Errorf("not published: %v", err)
		}
		url = at.API
		return nil
	})
	return url
}

// ready waits until replicas are ready.
func (n *network) ready(list ...*replica) {
	n.t.Helper()
	for _, r := range list {
		n.await(r.name()+" is ready", func() error {
			if !r.runs() {
				n.t.Fatalf("%s ended: %s", r.name(), tail(r.logPath()))
			}
			c, err := client.New(r.url(), client.Options{})
			if err != nil {
				return err
			}
			defer c.Close()
			ok, reason, err := c.Ready(n.t.Context())
			if err == nil && !ok {
				err = errors.New(reason)
			}
			return err
		})
	}
}

// await repeats a check until it succeeds. The test fails with its last error.
func (n *network) await(subject string, check func() error) {
	n.t.Helper()
	var err error
	for end := time.Now().Add(within); time.Now().Before(end) && n.t.Context().Err() == nil; time.Sleep(pollWait) {
		if err = check(); err == nil {
			return
		}
	}
	n.t.Fatalf("%s: %v", subject, err)
}

// cli runs a command of the program and returns its exit code and its output.
func (n *network) cli(namespace string, args ...string) (code int, out, errs string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), within)
	defer cancel()
	cmd := command(namespace, append([]string{ordinary(n.t)}, args...)...)
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.t.Fatalf("%v: %v", args, err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

// keys is the directory of the accounts for users.
func (n *network) keys() string { return filepath.Join(n.dir, netup.AccountsDir) }

// pay submits a payment from alice to a replica, waits until it is accepted or for three seconds, and returns its id.
func (r *replica) pay(to string, flags ...string) ledger.TxID {
	n := r.n
	n.t.Helper()
	args := append([]string{"tx", "send", "--from", "alice", "--to", to, "--amount", "5", "--node", r.url(), "--keys", n.keys(),
		"--wait", "accepted", "--timeout", "3s", "-o", "json"}, flags...)
	code, out, errs := n.cli("", args...)
	var answer api.TxAnswer
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != 0 && code != output.ExitUnknown {
		n.t.Fatalf("%v: exit %d, %v\n%s%s", args, code, err, out, errs)
	}
	return answer.ID
}
