// Package supervise runs the goroutines of a process that end together.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// Group is a set of goroutines. The first that fails or panics ends the context of all.
type Group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

// New makes an empty group, whose context ends with ctx.
func New(ctx context.Context) *Group {
	g := &Group{}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

// Go runs a goroutine. It returns when its context ends, without an error, or earlier with an error that must end the
// process. A panic is a broken invariant, and such an error.
func (g *Group) Go(name string, run func(context.Context) error) {
	g.wg.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				g.cancel(fmt.Errorf("%s: broken invariant: %v\n%s", name, r, debug.Stack()))
			}
		}()
		if err := run(g.ctx); err != nil {
			g.cancel(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// Wait blocks until all goroutines have returned. The error is the first failure; the end of the context given to [New] is
// none.
func (g *Group) Wait() error {
	g.wg.Wait()
	err := context.Cause(g.ctx)
	g.cancel(nil)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}
