package supervise

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestFirstFailureEndsAll: the first goroutine that fails or panics ends the context of all, and Wait returns its name and
// error when all have returned. The end of the context of New is no error.
func TestFirstFailureEndsAll(t *testing.T) {
	failure := errors.New("a failure")
	for name, c := range map[string]struct {
		run  func(context.Context) error
		want string
	}{
		"fails":   {func(context.Context) error { return failure }, "one: a failure"},
		"panics":  {func(context.Context) error { panic("a bug") }, "one: broken invariant: a bug"},
		"returns": {func(context.Context) error { return nil }, ""},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		g := New(ctx)
		ended := 0
		g.Go("one", c.run)
		g.Go("two", func(ctx context.Context) error {
			<-ctx.Done()
			ended++
			return errors.New("a later failure")
		})
		if c.want == "" {
			cancel()
		}
		err := g.Wait()
		if ended != 1 {
			t.Errorf("%s: Wait returned before the other goroutine", name)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if name == "fails" && !errors.Is(err, failure) {
			t.Errorf("%v does not wrap the failure", err)
		}
		cancel()
	}
}
