package attack

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"bdtnode/node/config"
	"bdtnode/shard"
)

// orderEnv carries an [order] to the process of an attacker.
const orderEnv = "TEST_ATTACK_ORDER"

// lowest is the priority of the attacker's process. An attacker elsewhere has processors of its own. Here it shares them
// with eight replicas, and so gets only processor time that no replica uses.
const lowest = "19"

// attacking is printed by the attacker's process once it is ready.
const attacking = "attacking"

// order is the work of an attacker's process.
type order struct {
	Attack  string
	Targets []target
	Member  string // home of the replica whose place it takes, empty for none
}

// target is a running replica.
type target struct {
	Shard uint16
	Home  string
	API   string
	P2P   []string
}

// attacker is the process of an attack.
type attacker struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
}

// startAttacker starts the process of an attack. It waits until the process is ready, and begins with [attacker.begin].
func startAttacker(t *testing.T, n *network, a attack) *attacker {
	t.Helper()
	o := order{Attack: a.name}
	for _, r := range n.cluster.Alive() {
		run, ok, err := config.ReadRunning(r.Home)
		if err != nil || !ok {
			t.Fatalf("%s does not say where it listens: %v", r.Name(), err)
		}
		o.Targets = append(o.Targets, target{r.Shard, r.Home, r.API(), run.P2P})
	}
	if a.member {
		o.Member = n.replica(memberShard, memberIndex).Home
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	x := &attacker{t: t, cmd: exec.Command("nice", "-n", lowest, self, "-test.run", "^TestAttacker$", "-test.v")}
	x.cmd.Env = append(os.Environ(), orderEnv+"="+string(text))
	x.cmd.Stderr = os.Stderr
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if x.in, err = x.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.in.Close() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == attacking {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return x
		}
		t.Log(lines.Text())
	}
	t.Fatalf("the attacker ended: %v", x.cmd.Wait())
	return nil
}

// begin lets the attack begin.
func (x *attacker) begin() {
	if _, err := fmt.Fprintln(x.in, attacking); err != nil {
		x.t.Errorf("the attacker ended: %v", err)
	}
}

// end ends the attack.
func (x *attacker) end() {
	_ = x.in.Close()
	if err := x.cmd.Wait(); err != nil {
		x.t.Errorf("the attacker failed: %v", err)
	}
}

// scene is an attack's view of the network: the replicas, and the Byzantine member if the attack needs one.
type scene struct {
	t       *testing.T
	genesis *shard.Genesis
	targets []target
	member  *member
}

// TestAttacker is the process of an attacker, see [startAttacker].
func TestAttacker(t *testing.T) {
	text := os.Getenv(orderEnv)
	if text == "" {
		return
	}
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	home, err := config.Load(o.Targets[0].Home, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, genesis: home.Genesis, targets: o.Targets}
	at := slices.IndexFunc(all, func(a attack) bool { return a.name == o.Attack })
	if at < 0 {
		t.Fatalf("no attack is called %q", o.Attack)
	}
	if o.Member != "" {
		s.member = becomeMember(t, o.Member, s, all[at].serve)
	}
	fmt.Println(attacking)
	commands := bufio.NewReader(os.Stdin)
	if _, err := commands.ReadString('\n'); err != nil {
		return // the test ended before
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = io.Copy(io.Discard, commands) // until the test closes it
		cancel()
	}()
	all[at].run(ctx, s)
}

// api is the address of a replica's client API.
func (s *scene) api(i int) string {
	return strings.TrimPrefix(s.targets[i%len(s.targets)].API, "http://")
}
