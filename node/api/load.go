package api

// Use is the use of a bounded resource.
type Use struct{ Used, Limit int64 }

// Load is the use of the server's bounded resources.
type Load struct {
	Submissions Use // in progress or waiting
	Bodies      Use // bytes of bodies that arrive and of transactions that wait
	Answers     Use // bytes of large answers that clients are reading
	Conns       Use // connections
}

// Load reads the use of the resources.
func (s *Server) Load() Load {
	x := Load{
		Submissions: Use{Limit: int64(s.cfg.MaxWaiting)}, Bodies: Use{Limit: s.cfg.MaxBodies},
		Answers: Use{Limit: s.cfg.MaxAnswers}, Conns: Use{Limit: int64(s.cfg.MaxConns)},
	}
	s.intake.mu.Lock()
	x.Submissions.Used = x.Submissions.Limit - s.intake.slots.Free()
	x.Bodies.Used = x.Bodies.Limit - s.intake.bytes.Free()
	s.intake.mu.Unlock()
	s.outlet.mu.Lock()
	x.Answers.Used = x.Answers.Limit - s.outlet.bytes.Free()
	s.outlet.mu.Unlock()
	if c := s.open.Load(); c != nil {
		c.mu.Lock()
		x.Conns.Used = int64(c.open)
		c.mu.Unlock()
	}
	return x
}
