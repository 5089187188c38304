package mvba

import (
	"bytes"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

var enemies = map[string]func(*world) enemy{
	"silent":    func(*world) enemy { return silent{} },
	"selective": func(w *world) enemy { return newPuppets(w, 1, false) },
	"garbage":   func(w *world) enemy { return newPuppets(w, 1, true) },
	"twins":     func(w *world) enemy { return newPuppets(w, 2, false) },
	"dragger":   func(*world) enemy { return &dragger{} },
	"puppeteer": func(*world) enemy { return &puppeteer{} },
}

func sortDigests(d []digest.Digest) {
	slices.SortFunc(d, func(a, b digest.Digest) int { return bytes.Compare(a[:], b[:]) })
}

// silent replicas never say anything.
type silent struct{}

func (silent) start(*world)                                                     {}
func (silent) hear(*world, protocols.Index, protocols.Index, protocols.Message) {}
func (silent) act(*world)                                                       {}
