package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"bdtnode/ledger"
	"bdtnode/node/admin"
	"bdtnode/node/api"
	"bdtnode/node/why"
)

// state is the output of net status.
type state struct {
	api.NetworkState
	Unreachable []struct{ URL, Error string }
	exit        int
	text        string // without -o json
}

// status runs net status against replicas, in both forms.
func (n *network) status(namespace string, of ...*replica) (s state, err error) {
	args := []string{"net", "status"}
	for _, r := range of {
		args = append(args, r.url())
	}
	code, out, errs := n.cli(namespace, append(slices.Clone(args), "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return s, fmt.Errorf("exit %d: %w: %s", code, err, errs)
	}
	s.exit = code
	_, s.text, _ = n.cli(namespace, args...)
	return s, nil
}

// row is the state of one replica in net status.
func (s *state) row(r *replica) *api.ReplicaState {
	i := slices.IndexFunc(s.Replicas, func(x api.ReplicaState) bool { return int(x.Shard) == r.shard && int(x.Replica) == r.index })
	return &s.Replicas[i]
}

// line fails unless the text of net status has a line of the replica with its health and a reason.
func (s *state) line(r *replica, health api.Health, reason string) error {
	x := s.row(r)
	if x.Health != health || !strings.Contains(x.Reason, reason) {
		return fmt.Errorf("net status: %s is %q, %q, want %q, %q", r.name(), x.Health, x.Reason, health, reason)
	}
	for line := range strings.Lines(s.text) {
		if strings.HasPrefix(line, r.name()+" ") && strings.Contains(line, string(health)) && strings.Contains(line, reason) {
			return nil
		}
	}
	return fmt.Errorf("net status has no line of %s with %q and %q:\n%s", r.name(), health, reason, s.text)
}

// shows waits until net status against replicas passes a check.
func (n *network) shows(subject string, of []*replica, check func(s *state) error) {
	n.t.Helper()
	n.await("net status: "+subject, func() error {
		s, err := n.status("", of...)
		if err != nil {
			return err
		}
		return check(&s)
	})
}

// well waits until net status shows every replica ready, without a fault.
func (n *network) well() {
	n.t.Helper()
	n.shows("all is well", n.running(), func(s *state) error {
		for i := range s.Replicas {
			if x := &s.Replicas[i]; x.Health != api.HealthReady || x.Reason != "" {
				return fmt.Errorf("%d/%d is %q: %s", x.Shard, x.Replica, x.Health, x.Reason)
			}
		}
		if s.exit != 0 {
			return fmt.Errorf("exit code %d", s.exit)
		}
		return nil
	})
}

// why asks a replica why a transaction waits, by its socket.
func (r *replica) why(id ledger.TxID) (admin.Why, error) {
	var v admin.Why
	c, err := admin.Dial(r.home)
	if err == nil {
		err = c.Get(r.n.t.Context(), "/v1/why/"+id.String(), &v)
	}
	return v, err
}

// find returns the reason of a kind, or nil.
func find(v admin.Why, kind why.Kind) *why.Reason {
	i := slices.IndexFunc(v.Reasons, func(x why.Reason) bool { return x.Kind == kind })
	if i < 0 {
		return nil
	}
	return &v.Reasons[i]
}

// want is a reason that debug why must give: its kind, the replicas that it names, and parts of its sentences.
type want struct {
	kind     why.Kind
	replicas []int
	text     []string
}

// explains waits until debug why at a replica gives a reason, and checks it in the text of the command too.
func (r *replica) explains(id ledger.TxID, w want) {
	n := r.n
	n.t.Helper()
	n.await(fmt.Sprintf("debug why at %s", r.name()), func() error {
		v, err := r.why(id)
		if err != nil {
			return err
		}
		if err := w.in(v); err != nil {
			return err
		}
		// The state may have changed in between, so both are asked again until they agree.
		code, out, errs := n.cli("", "debug", "why", id.String(), "--home", n.dir, "--replica", r.name())
		out = strings.Join(strings.Fields(out), " ")
		if code != 0 || !strings.Contains(out, "reason "+string(w.kind)) {
			return fmt.Errorf("exit %d, %s%s", code, out, errs)
		}
		for _, part := range w.text {
			if !strings.Contains(out, part) {
				return fmt.Errorf("no %q in %s", part, out)
			}
		}
		return nil
	})
}

func (w want) in(v admin.Why) error {
	x := find(v, w.kind)
	if x == nil {
		return fmt.Errorf("no reason %s in %+v", w.kind, v.Reasons)
	}
	var named []int
	for _, i := range x.Replicas {
		named = append(named, int(i))
	}
	if w.replicas != nil && !slices.Equal(named, w.replicas) {
		return fmt.Errorf("%s names the replicas %v, want %v: %s", w.kind, named, w.replicas, x.Text)
	}
	for _, part := range w.text {
		if !strings.Contains(x.Text+" "+x.Ends, part) {
			return fmt.Errorf("%s: no %q in %s %s", w.kind, part, x.Text, x.Ends)
		}
	}
	return nil
}

// logs waits until the log of a replica has an event with fields.
func (r *replica) logs(event string, fields map[string]string) {
	r.n.t.Helper()
	r.n.await(fmt.Sprintf("the log of %s has %q with %v", r.name(), event, fields), func() error { return r.logged(event, fields) })
}

// logged fails unless the log has an event whose fields match the given regular expressions.
func (r *replica) logged(event string, fields map[string]string) error {
	raw, err := os.ReadFile(r.logPath())
	if err != nil {
		return err
	}
	var last string
	for line := range strings.Lines(string(raw)) {
		var x map[string]any
		if json.Unmarshal([]byte(line), &x) != nil || x["msg"] != event {
			continue
		}
		last = line
		if !slices.ContainsFunc(keysOf(fields), func(k string) bool { return !regexp.MustCompile(fields[k]).MatchString(fmt.Sprint(x[k])) }) {
			return nil
		}
	}
	return fmt.Errorf("the last one is %q", last)
}

func keysOf(m map[string]string) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	return out
}
