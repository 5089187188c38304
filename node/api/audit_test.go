package api

import (
	"context"
	"testing"
	"time"
)

// counting is a backend whose audits take a second.
type counting struct {
	Backend
	now    time.Time
	height uint64
	runs   int
}

func (c *counting) Status() Status { return Status{Height: c.height} }

func (c *counting) Audit(context.Context) (Audit, error) {
	c.runs++
	c.now = c.now.Add(time.Second)
	return Audit{Height: c.height}, nil
}

// TestAuditsInALoop: an audit soon after another one does not run. The last result is returned if the height is the
// same, otherwise the time to try again. In a loop, audits take a tenth of the time.
func TestAuditsInALoop(t *testing.T) {
	var a auditor
	c := &counting{now: time.Unix(1000, 0), height: 7}
	ask := func() (Audit, error) { return a.audit(t.Context(), c, func() time.Time { return c.now }) }
	for range 3 {
		if x, err := ask(); err != nil || x.Height != 7 {
			t.Fatalf("height %d: %v", x.Height, err)
		}
	}
	if c.runs != 1 {
		t.Errorf("%d audits ran for three requests at one height", c.runs)
	}
	c.height++
	if _, err := ask(); err == nil || c.runs != 1 {
		t.Errorf("a second audit was not refused: %v", err)
	}
	for end := c.now.Add(100 * time.Second); c.now.Before(end); c.now = c.now.Add(10 * time.Millisecond) {
		c.height++
		_, _ = ask()
	}
	if c.runs < 9 || c.runs > 12 {
		t.Errorf("audits took %d s of 100 s", c.runs)
	}
}
