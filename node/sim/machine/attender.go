package machine

import "bdtnode/protocols"

// attender calls the driver's Attend when it is due.
type attender struct {
	n  *Machine
	at protocols.Time // of the timer for the next call, zero if none is set
}

func (a *attender) call() {
	next, err := a.n.driver.Attend()
	must(err)
	a.callBy(next)
}

// callBy sets the timer for the next call, unless it is set to an earlier time. Zero is no time.
func (a *attender) callBy(next protocols.Time) {
	if next == 0 || a.at != 0 && a.at <= next {
		return
	}
	a.at = next
	a.n.after(next.Sub(a.n.s.Now()), func() {
		if a.at == next { // else it was set to an earlier time since
			a.at = 0
			a.n.do(a.call)
		}
	})
}
