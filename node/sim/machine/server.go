package machine

import "time"

// serveMean is the mean time to read stored data for a peer. Reading runs beside all other work.
const serveMean = 500 * time.Microsecond

// server answers the requests of peers for stored data, in one life.
type server struct {
	n         *Machine
	answering bool // a request is being read from the store, or waits for its peer's turn
}

// serve answers the requests of peers one after another.
func (x *server) serve() {
	n := x.n
	if x.answering {
		return
	}
	peer, r, again := n.driver.NextRequest()
	if r == nil {
		if again != 0 {
			x.answering = true
			n.after(again.Sub(n.s.Now()), x.served)
		}
		return
	}
	x.answering = true
	n.after(n.s.Around(serveMean), func() {
		must(n.driver.Answer(peer, r))
		x.served()
	})
}

func (x *server) served() {
	x.answering = false
	x.serve()
}
