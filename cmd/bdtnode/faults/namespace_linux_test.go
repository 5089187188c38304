package faults

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bdtnode/node/config"
)

// become replaces this process by a program in a network namespace.
func become(l launch) error {
	runtime.LockOSThread() // the namespace is that of the thread, and exec keeps the thread that calls it
	if l.Namespace != "" {
		fd, err := unix.Open(l.Namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("namespace %s: %w", l.Namespace, err)
		}
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the namespace %s: %w", l.Namespace, err)
		}
	}
	path, err := exec.LookPath(l.Program[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, l.Program, os.Environ())
}

// inside marks the process of a test that runs in namespaces of its own.
const inside = "TEST_FAULTS_NAMESPACE"

// inNamespaces runs the calling test again in a new network namespace, together with a user namespace, so it needs no
// privileges. There f gets two further network namespaces, one for the replicas of each shard, a function that cuts the
// link between them, and one that mends it. Their APIs are reached from the test through other links.
func inNamespaces(t *testing.T, f func(t *testing.T, o options, namespaces []string, cut, mend func())) {
	t.Helper()
	if os.Getenv(inside) == "" {
		again(t)
		return
	}
	path, err := exec.LookPath("ip")
	if err != nil {
		t.Fatal("the program ip is missing (package iproute2)")
	}
	var pids []int
	var spaces []string
	for range 2 {
		pid := hold(t)
		pids, spaces = append(pids, pid), append(spaces, fmt.Sprintf("/proc/%d/ns/net", pid))
	}
	ip := func(namespace, line string) {
		t.Helper()
		if out, err := command(namespace, append([]string{path}, strings.Fields(line)...)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", line, err, out)
		}
	}
	ip("", "link set lo up")
	ip("", fmt.Sprintf("link add between0 netns %d type veth peer name between1 netns %d", pids[0], pids[1]))
	for s, space := range spaces {
		ip("", fmt.Sprintf("link add api%d type veth peer name api netns %d", s, pids[s]))
		ip("", fmt.Sprintf("addr add 10.78.%d.1/24 dev api%d", s, s))
		ip("", fmt.Sprintf("link set api%d up", s))
		for _, line := range []string{
			"link set lo up", fmt.Sprintf("addr add 10.77.%d.1/32 dev lo", s), fmt.Sprintf("addr add 10.78.%d.2/24 dev api", s), "link set api up",
			fmt.Sprintf("link set between%d up", s), fmt.Sprintf("route add 10.77.%d.1/32 dev between%d src 10.77.%d.1", 1-s, s, s),
		} {
			ip(space, line)
		}
	}
	ports := [2]int{26600, 26600}
	place := func(shard, index int) config.Place {
		ports[shard]++
		return config.Place{Listen: []string{fmt.Sprintf("/ip4/10.77.%d.1/tcp/%d", shard, ports[shard])}, API: fmt.Sprintf("10.78.%d.2:%d", shard, 100+ports[shard])}
	}
	f(t, options{shards: 2, place: place}, spaces,
		func() { ip(spaces[0], "link set between0 down") },
		func() {
			ip(spaces[0], "link set between0 up")
			ip(spaces[0], "route replace 10.77.1.1/32 dev between0 src 10.77.0.1")
		})
}

// hold starts a process that keeps a new network namespace until the test ends, and returns its id.
func hold(t *testing.T) int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(launch{})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), launchEnv+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	var life io.Closer
	if life, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = life.Close()
		_ = cmd.Wait() // it ends with its input
	})
	return cmd.Process.Pid
}

// again runs the calling test in new namespaces.
func again(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(t.Name(), "/")
	for i := range parts {
		parts[i] = "^" + parts[i] + "$"
	}
	ordinary(t) // built here: the namespace reaches no module proxy
	cmd := exec.Command(self, "-test.run="+strings.Join(parts, "/"), "-test.v", "-faults", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), inside+"=1")
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
	t.Logf("%s", out)
}
