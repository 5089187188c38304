package mvba

import (
	"bytes"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

var adversaries = map[string]func(*world) adversary{
	"silent":         func(*world) adversary { return silent{} },
	"selective":      func(w *world) adversary { return newMachineAdversary(w, 1, false) },
	"garbage":        func(w *world) adversary { return newMachineAdversary(w, 1, true) },
	"twins":          func(w *world) adversary { return newMachineAdversary(w, 2, false) },
	"round-skipping": func(*world) adversary { return &roundSkipper{} },
	"arbitrary":      func(*world) adversary { return &arbitraryAdversary{} },
}

func sortDigests(d []digest.Digest) {
	slices.SortFunc(d, func(a, b digest.Digest) int { return bytes.Compare(a[:], b[:]) })
}

// silent replicas send no messages.
type silent struct{}

func (silent) start(*world)                                                        {}
func (silent) receive(*world, protocols.Index, protocols.Index, protocols.Message) {}
func (silent) act(*world)                                                          {}
