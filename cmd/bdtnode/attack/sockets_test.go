package attack

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"bdtnode/node/client"
	"bdtnode/node/config"
)

// comeBack bounds the time in which a starting replica becomes ready during an attack.
const comeBack = 15 * time.Second

// silentConnections holds 160 connections to each replica's port of the network and sends nothing on them. The replica that
// starts meanwhile must become ready.
func silentConnections(ctx context.Context, s *scene) {
	var targets []string
	for _, r := range s.targets {
		address, err := tcpAddress(r.Home)
		if err != nil {
			s.t.Error(err)
			return
		}
		targets = append(targets, address)
	}
	s.hold(ctx, 160*len(targets), func(i int) string { return targets[i%len(targets)] }, "")
}

// startAgain runs the replica of a home until ctx ends, and fails the test unless it is ready in time.
func (n *network) startAgain(ctx context.Context, home string) {
	path, err := program()
	if err != nil {
		n.t.Error(err)
		return
	}
	cmd := exec.CommandContext(ctx, path, "start", "--home", home)
	if err := cmd.Start(); err != nil {
		n.t.Error(err)
		return
	}
	started := time.Now()
	lacks := "its status was not queried"
	for lacks != "" && time.Since(started) < comeBack && ctx.Err() == nil {
		pause(ctx, 50*time.Millisecond)
		lacks = lacking(ctx, home, cmd.Process.Pid)
	}
	if lacks != "" {
		n.t.Errorf("the replica that started is not ready after %v: %s", time.Since(started), lacks)
	} else {
		n.t.Logf("the replica was ready after %v", time.Since(started).Round(10*time.Millisecond))
	}
	_ = cmd.Wait() // it is killed when ctx ends
}

// lacking describes why the replica of a home, as a process, is not ready; empty if it is ready.
func lacking(ctx context.Context, home string, pid int) string {
	run, ok, err := config.ReadRunning(home)
	if err != nil || !ok || run.PID != pid {
		return "it has not published its API address"
	}
	cl, err := client.New(run.API, client.Options{})
	if err != nil {
		return err.Error()
	}
	defer cl.Close()
	ready, reason, err := cl.Ready(ctx)
	switch {
	case err != nil:
		return err.Error()
	case !ready && reason == "":
		return "it gives no reason"
	case !ready:
		return reason
	}
	return ""
}

// tcpAddress is the TCP listen address of a replica for other replicas.
func tcpAddress(home string) (string, error) {
	run, ok, err := config.ReadRunning(home)
	if err != nil || !ok {
		return "", fmt.Errorf("%s has no published listen address: %w", home, err)
	}
	for _, addr := range run.P2P {
		a, err := ma.NewMultiaddr(addr)
		if err != nil {
			return "", err
		}
		transport, _ := ma.SplitFunc(a, func(c ma.Component) bool { return c.Protocol().Code == ma.P_P2P })
		if na, err := manet.ToNetAddr(transport); err == nil {
			return na.String(), nil
		}
	}
	return "", fmt.Errorf("%s lists no TCP address in %v", home, run.P2P)
}
