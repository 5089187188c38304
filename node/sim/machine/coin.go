package machine

import (
	"math/rand/v2"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	toss "bdtnode/protocols/coin"
)

// deal makes the shard's coin: an ideal one if signatures are ideal, else the coin of production.
func (s *Shard) deal() error {
	threshold := s.Config.Faulty() + 1
	if _, ideal := s.Scheme.(*sig.Ideal); ideal {
		tosses := toss.NewIdeal(s.cfg.Seed<<8+uint64(s.Number), threshold)
		s.Coin = tosses
		for i := range s.Config.Replicas {
			s.shares = append(s.shares, tosses.Holder(protocols.Index(i)))
		}
		return nil
	}
	random := rand.NewChaCha8(digest.Of("bdt/simulated-coin/1", s.ID[:], wire.AppendU16(nil, s.Number)))
	public, secrets, err := toss.Deal(random, s.Config.Replicas, threshold)
	if err != nil {
		return err
	}
	dealt, err := toss.NewDH(public, threshold)
	if err != nil {
		return err
	}
	if s.Coin, err = toss.NewCached(dealt, 1024); err != nil {
		return err
	}
	for _, secret := range secrets {
		s.shares = append(s.shares, secret)
	}
	return nil
}
