package attack

import (
	"context"
	"fmt"
	"os/exec"
	"sync"
	"time"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"bdtnode/node/api/client"
	"bdtnode/node/config"
)

// comeBack is how long a replica that starts may take until it is ready, during an attack.
const comeBack = 15 * time.Second

// silentConnections holds 160 connections that say nothing to each replica's port of the network, and then starts the
// replica that is down, which must become ready.
func silentConnections(ctx context.Context, s *scene) {
	var wg sync.WaitGroup
	defer wg.Wait()
	var targets []string
	for _, r := range s.cluster.Alive() {
		address, err := tcpAddress(r.Home)
		if err != nil {
			s.t.Error(err)
			return
		}
		targets = append(targets, address)
	}
	wg.Go(func() {
		s.hold(ctx, 160*len(targets), func(i int) string { return targets[i%len(targets)] }, "")
	})
	pause(ctx, time.Second)
	s.startAgain(ctx, s.replica(memberShard, memberIndex).Home)
}

// startAgain runs the replica of a home until ctx ends, and fails the test unless it is ready in time.
func (s *scene) startAgain(ctx context.Context, home string) {
	path, err := program()
	if err != nil {
		s.t.Error(err)
		return
	}
	cmd := exec.CommandContext(ctx, path, "start", "--home", home)
	if err := cmd.Start(); err != nil {
		s.t.Error(err)
		return
	}
	started := time.Now()
	lacks := "it was not asked"
	for lacks != "" && time.Since(started) < comeBack && ctx.Err() == nil {
		pause(ctx, 50*time.Millisecond)
		lacks = lacking(ctx, home, cmd.Process.Pid)
	}
	if lacks != "" {
		s.t.Errorf("the replica that started is not ready after %v: %s", time.Since(started), lacks)
	} else {
		s.t.Logf("the replica was ready after %v", time.Since(started).Round(10*time.Millisecond))
	}
	_ = cmd.Wait() // it is killed when ctx ends
}

// lacking is what the replica of a home, as a process, lacks to be ready; empty if it is.
func lacking(ctx context.Context, home string, pid int) string {
	run, ok, err := config.ReadRunning(home)
	if err != nil || !ok || run.PID != pid {
		return "it does not say where it listens"
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
		return "it does not say why"
	case !ready:
		return reason
	}
	return ""
}

// tcpAddress is where a replica listens for the others.
func tcpAddress(home string) (string, error) {
	run, ok, err := config.ReadRunning(home)
	if err != nil || !ok {
		return "", fmt.Errorf("%s does not say where its replica listens: %w", home, err)
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
