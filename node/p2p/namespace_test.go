//go:build linux

package p2p

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace marks the test binary when it runs again in a network namespace of its own.
const inNamespace = "BDTNODE_TEST_NAMESPACE"

// hostAddress is not a loopback address, but is local in the namespace.
const hostAddress = "10.77.0.1"

// All replicas of a large shard on one private, non-loopback address find each other through one of them. The default
// resource manager admits 8 connections from that address, and new ones at one in 5 seconds; Kademlia's automatic mode
// never answers there.
func TestManyReplicasOnOneAddress(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		again(t)
		return
	}
	addAddress(t)
	const replicas = 12
	w := newTestNetwork(t, replicas)
	config := func(i int, bootstrap ...string) Config {
		cfg := w.config(0, i, bootstrap...)
		cfg.Listen = []string{"/ip4/" + hostAddress + "/tcp/0"}
		return cfg
	}
	nodes := []*node{start(t, config(0))}
	for i := 1; i < replicas; i++ {
		nodes = append(nodes, start(t, config(i, nodes[0].Addrs()[0])))
	}
	mesh(nodes...)
	for _, d := range nodes {
		if s := d.Stats(); s.Refused != 0 {
			t.Errorf("replica %d counts %+v", d.cfg.Self, s)
		}
	}
}

// again runs the calling test in a new network namespace, together with a user namespace, so it needs no privileges.
func again(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a network namespace (the kernel must allow user namespaces): %v\n%s", err, out)
	}
}

// addAddress activates the namespace's only interface, with hostAddress as a second address.
func addAddress(t *testing.T) {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	must(t, err)
	defer unix.Close(s)
	for _, x := range []struct {
		name    string
		request uint
		set     func(*unix.Ifreq) error
	}{
		{"lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP); return nil }},
		{"lo:1", unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{10, 77, 0, 1}) }},
	} {
		r, err := unix.NewIfreq(x.name)
		must(t, err)
		must(t, x.set(r))
		must(t, unix.IoctlIfreq(s, x.request, r))
	}
}
