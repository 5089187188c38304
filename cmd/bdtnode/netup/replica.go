package netup

import (
	"fmt"
	"sync"

	"bdtnode/node/client"
	"bdtnode/node/config"
)

// Replica is a replica of a network that runs here. It stays the same when its process is replaced. It is safe for
// concurrent use.
type Replica struct {
	Shard  uint16
	Index  int
	Home   string
	Client *client.Client // follows the replica to new addresses; set once [Start] has returned

	mu    sync.Mutex
	proc  *process
	at    config.Running
	all   []*client.Client // clients that follow the replica to new addresses
	taken bool             // this program killed or suspended it, and will restore it
	past  Usage            // usage of earlier processes
}

// Name is the display name of the replica.
func (r *Replica) Name() string { return fmt.Sprintf("replica %d of shard %d", r.Index, r.Shard) }

// Alive reports whether its process runs and is not suspended.
func (r *Replica) Alive() bool { return !r.process().gone() && !r.out() }

// Killed reports whether the process has ended by a signal from outside, not by a failure.
func (r *Replica) Killed() bool { p := r.process(); return p.gone() && p.killed() }

// Lost reports whether the replica has no process, and this program did not end it.
func (r *Replica) Lost() bool { p := r.process(); return p.gone() && !p.asked.Load() }

// Ended describes how the process of the replica ended, with the last lines of its log.
func (r *Replica) Ended() string { return r.process().ended() }

// PID is the process id.
func (r *Replica) PID() int { return r.process().pid() }

// API is the base URL of its HTTP interface.
func (r *Replica) API() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at.API
}

func (r *Replica) process() *process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proc
}

func (r *Replica) set(p *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proc = p
}

// out reports whether this program killed or suspended the replica and will restore it.
func (r *Replica) out() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}

// comesBack reports whether the replica is out and this program can still restore it.
func (r *Replica) comesBack() bool {
	p := r.process()
	return r.out() && (!p.gone() || p.asked.Load())
}

func (r *Replica) setOut(out bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = out
}

// reached records the addresses of the replica, and points its clients to them.
func (r *Replica) reached(run config.Running, o client.Options) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Client == nil {
		if r.Client, err = client.New(run.API, o); err != nil {
			return err
		}
		r.all = append(r.all, r.Client)
	}
	if r.at.API != run.API {
		for _, cl := range r.all {
			if err := cl.Move(run.API); err != nil {
				return err
			}
		}
	}
	r.at = run
	return nil
}

// Connect returns another client, with connections of its own, that follows the replica to new addresses.
func (r *Replica) Connect(o client.Options) (*client.Client, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cl, err := client.New(r.at.API, o)
	if err == nil {
		r.all = append(r.all, cl)
	}
	return cl, err
}

// spent adds the usage of processes of the replica that have ended.
func (r *Replica) spent(u Usage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.past.CPUSeconds += u.CPUSeconds
	r.past.Syncs += u.Syncs
}

func (r *Replica) pastUsage() Usage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.past
}
