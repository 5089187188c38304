package fairshare

// Use returns the number of free places, and the number of requests that wait.
func (s *Places[P]) Use() (free, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queues {
		waiting += len(q)
	}
	return int(s.pool.Free()), waiting
}
