package cancel

import (
	"testing"

	"bdtnode/internal/golden"
	"bdtnode/protocols"
)

// TestTraces runs the scripts in testdata/traces.
func TestTraces(t *testing.T) {
	golden.Run(t, "testdata/traces/*.txt", func(t *testing.T, p *golden.Printer) golden.Commands {
		b := newBench(t, 4)
		m, now := b.machine(), t0
		for _, name := range []string{"T1", "T2", "T3"} {
			p.Name(DigestOf([]byte(name)), name)
		}
		return golden.Commands{
			// replica: the machine of replica 0 of 4
			"replica": func(*golden.Args) {
				m = b.machine()
				p.Line("replica 0 of 4, weak quorum %d", b.c.WeakQuorum())
			},
			// impossible T1: the committed state shows that it can never be SPENT in this shard
			"impossible": func(a *golden.Args) { p.Step(m.Impossible(now, []byte(a.Word()))) },
			// deliver from=2 T1: a checked CL_M
			"deliver": func(a *golden.Args) {
				from := protocols.Index(a.Int("from"))
				p.Step(m.HandleCLM(from, b.statement(from, a.Word())))
			},
			"pending": func(*golden.Args) {
				count, bytes := m.Pending()
				p.Line("%d transactions, %d bytes", count, bytes)
			},
		}
	})
}
