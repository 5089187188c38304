package sim

import (
	"math/rand/v2"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	toss "bdtnode/protocols/coin"
)

// deal makes the shard's coin: an ideal one if signatures are ideal, else the coin of production.
func (s *cluster) deal() error {
	threshold := s.cfg.faulty() + 1
	if _, ideal := s.scheme.(*sig.Ideal); ideal {
		tosses := toss.NewIdeal(s.world.cfg.Seed<<8+uint64(s.shard), threshold)
		s.coin = tosses
		for i := range s.cfg.Nodes {
			s.shares = append(s.shares, tosses.Holder(protocols.Index(i)))
		}
		return nil
	}
	random := rand.NewChaCha8(digest.Of("bdt/simulated-coin/1", s.id[:], wire.AppendU16(nil, s.shard)))
	public, secrets, err := toss.Deal(random, s.cfg.Nodes, threshold)
	if err != nil {
		return err
	}
	dealt, err := toss.NewDH(public, threshold)
	if err != nil {
		return err
	}
	if s.coin, err = toss.NewCached(dealt, 1024); err != nil {
		return err
	}
	for _, secret := range secrets {
		s.shares = append(s.shares, secret)
	}
	return nil
}
