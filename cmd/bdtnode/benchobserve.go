package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/bench"
	"bdtnode/cmd/bdtnode/output"
)

func newBenchObserve(a *app) *cobra.Command {
	var nodes []string
	var followers int
	var limit time.Duration
	c := &cobra.Command{
		Use:   "observe",
		Short: "Follow the events and scrape the metrics of replicas, and count them",
		Long: `Follows the events of replicas with many streams, in turn over the URLs, and scrapes the metrics of each replica every
second, for --for or until Ctrl-C. It checks that no event is missing, and parses nothing else, so it takes little
processor time. bench run --observed starts it beside a load.`,
		Example: `  bdtnode bench observe --node http://127.0.0.1:26700,http://127.0.0.1:26701 --followers 100 --for 10s`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(nodes) == 0 {
				return output.Usage("--node is missing: the URLs of replicas")
			}
			if err := checkFollowers("followers", followers); err != nil {
				return err
			}
			ctx := cmd.Context()
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, limit)
				defer cancel()
			}
			got, err := bench.Observe(ctx, nodes, followers, func() { a.print.Note(observing, followers) })
			if err != nil {
				return err
			}
			return a.print.Data(got, func(w io.Writer) { printObserved(w, got) })
		},
	}
	c.Flags().StringSliceVar(&nodes, "node", nil, "URLs of replicas, separated by commas (default: none)")
	c.Flags().IntVar(&followers, "followers", 100, "streams of events, up to 1000")
	c.Flags().DurationVar(&limit, "for", 0, "time after which it ends (default: at Ctrl-C)")
	return c
}

// observing is the note that all streams are open.
const observing = "%d followers of events"

// observerTime bounds the time in which the process of the readers opens its streams, and that in which it ends.
const observerTime = 30 * time.Second

func checkFollowers(flag string, followers int) error {
	if followers < 0 || followers > bench.MaxFollowers {
		return output.Usage("--%s %d: use 0 to %d", flag, followers, bench.MaxFollowers)
	}
	return nil
}

// readers is a process that reads the events and metrics of replicas. It is a process of its own, so that its processor time is
// known apart from that of the load.
type readers struct {
	cmd  *exec.Cmd
	out  bytes.Buffer
	errs bytes.Buffer
	done chan error
}

// startReaders starts readers, and waits until their streams are open.
func startReaders(targets []bench.Target, followers int) (*readers, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("path of this program: %w", err)
	}
	var urls []string
	for _, t := range targets {
		urls = append(urls, t.URL())
	}
	r := &readers{done: make(chan error, 1)}
	r.cmd = exec.Command(program, "bench", "observe", "--node", strings.Join(urls, ","), "--followers", strconv.Itoa(followers), "-o", "json")
	r.cmd.Stdout = &r.out
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C on the terminal ends the load first
	notes, err := r.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start readers of events: %w", err)
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start readers of events: %w", err)
	}
	ready := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(notes)
		for lines.Scan() {
			if lines.Text() == fmt.Sprintf(observing, followers) {
				close(ready)
			}
			fmt.Fprintln(&r.errs, lines.Text())
		}
		r.done <- r.cmd.Wait()
	}()
	timer := time.NewTimer(observerTime)
	defer timer.Stop()
	select {
	case <-ready:
		return r, nil
	case err := <-r.done:
		return nil, r.failed(err)
	case <-timer.C:
		_ = r.cmd.Process.Kill() // fails only if it has ended
		return nil, errors.New("the readers of events could not open their streams in time")
	}
}

func (r *readers) failed(err error) error {
	return fmt.Errorf("readers of events: %w: %s", err, strings.TrimSpace(r.errs.String()))
}

// stop ends the readers, and returns their counts.
func (r *readers) stop() (*bench.Observed, error) {
	timer := time.AfterFunc(observerTime, func() { _ = r.cmd.Process.Kill() }) // fails only if it has ended
	defer timer.Stop()
	_ = r.cmd.Process.Signal(os.Interrupt) // likewise
	err := <-r.done
	if err != nil {
		return nil, r.failed(err)
	}
	o := new(bench.Observed)
	if err := json.Unmarshal(r.out.Bytes(), o); err != nil {
		return nil, fmt.Errorf("readers of events: %w", err)
	}
	return o, nil
}

func printObserved(w io.Writer, o *bench.Observed) {
	fmt.Fprintf(w, "followers\t%d of events, %d events of %s, %d gaps, %d broken\n", o.Followers, o.Events, sizeText(int(o.EventBytes)), o.Gaps, o.Broken)
	fmt.Fprintf(w, "scrapes\t%d of %s, %.1f ms each, %d failed\n", o.Scrapes, sizeText(int(o.ScrapeBytes)), o.ScrapeMS, o.Failed)
	fmt.Fprintf(w, "readers\t%.2f s of processor time in %.1f s\n", o.CPUSeconds, o.Seconds)
	if o.Problem != "" {
		fmt.Fprintf(w, "problem\t%s\n", o.Problem)
	}
}
