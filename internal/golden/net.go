package golden

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Net carries messages between the machines of one shard, in the order in which they were sent. Only the steps of watched
// machines are printed.
type Net struct {
	Disks []Disk

	p       *Printer
	handle  func(to, from int, message any) (step any)
	read    func(from int, stored any) []any
	queue   []letter
	watched []int
	hidden  []string // prefixes of types of messages that are printed as a count alone
	down    []int
	records int // hidden and not printed yet
	sends   int
}

type letter struct {
	from, to int
	message  any
}

// NewNet is a net of n machines of which all are watched. handle gives a message to a machine and returns its step; read
// gives the messages of a range of stored data, and may be nil for machines that read none.
func NewNet(p *Printer, n int, handle func(to, from int, message any) any, read func(from int, stored any) []any) *Net {
	x := &Net{p: p, handle: handle, read: read}
	for i := range n {
		x.Disks = append(x.Disks, Disk{})
		x.watched = append(x.watched, i)
	}
	return x
}

// HideAgreement has the messages of these packages, and the records of agreements, counted instead of printed.
func (x *Net) HideAgreement(packages ...string) {
	for _, name := range packages {
		x.hidden = append(x.hidden, name+".")
	}
}

// Down reports whether a machine is down.
func (x *Net) Down(i int) bool { return slices.Contains(x.down, i) }

// Took keeps the records of a machine's step, takes its messages, and prints it if the machine is watched.
func (x *Net) Took(i int, step any) {
	x.took(i, step)
	if slices.Contains(x.watched, i) {
		x.p.Step(x.visible(step))
		x.flush()
	}
}

func (x *Net) took(i int, step any) {
	x.Disks[i].Keep(step)
	for s := range elements(reflect.ValueOf(step), "Sends") {
		message, to := s.FieldByName("Message").Interface(), int(s.FieldByName("To").Int())
		for j := range x.Disks {
			if j != i && (to < 0 || to == j) {
				x.queue = append(x.queue, letter{i, j, message})
			}
		}
	}
	for r := range elements(reflect.ValueOf(step), "Reads") {
		for _, m := range x.read(i, r.FieldByName("Range").Interface()) {
			x.queue = append(x.queue, letter{i, int(r.FieldByName("To").Uint()), m})
		}
	}
}

// visible is a step without its hidden messages and records, which are counted.
func (x *Net) visible(step any) any {
	if len(x.hidden) == 0 {
		return step
	}
	v := reflect.ValueOf(step)
	shown := reflect.New(v.Type()).Elem()
	shown.Set(v)
	persist := reflect.MakeSlice(v.FieldByName("Persist").Type(), 0, 0)
	for r := range elements(v, "Persist") {
		if strings.HasPrefix(string(r.FieldByName("Key").Bytes()), "a/") {
			x.records++
			continue
		}
		persist = reflect.Append(persist, r)
	}
	sends := reflect.MakeSlice(v.FieldByName("Sends").Type(), 0, 0)
	for s := range elements(v, "Sends") {
		message := indirect(reflect.ValueOf(s.FieldByName("Message").Interface())).Type().String()
		if slices.ContainsFunc(x.hidden, func(prefix string) bool { return strings.HasPrefix(message, prefix) }) {
			x.sends++
			continue
		}
		sends = reflect.Append(sends, s)
	}
	shown.FieldByName("Persist").Set(persist)
	shown.FieldByName("Sends").Set(sends)
	return shown.Interface()
}

// flush prints how much was hidden since the last time.
func (x *Net) flush() {
	x.hid(x.records, x.sends)
	x.records, x.sends = 0, 0
}

func (x *Net) hid(records, sends int) {
	if records+sends > 0 {
		x.p.Line("agreement: records %d, messages %d", records, sends)
	}
}

func typeOf(message any) string { return indirect(reflect.ValueOf(message)).Type().Name() }

// Commands are those of the net: watch, down, up, carry and drop.
func (x *Net) Commands() Commands {
	return Commands{
		// watch 1 3: print the steps of these machines alone
		"watch": func(a *Args) {
			x.watched = nil
			for _, w := range a.Words() {
				x.watched = append(x.watched, a.number(w))
			}
			x.p.Line("steps of %v are printed", x.watched)
		},
		// down 0: the machine is down until it is up again: a message to or from it that is carried in this time is lost
		"down": func(a *Args) {
			for _, w := range a.Words() {
				x.down = append(x.down, a.number(w))
			}
			x.p.Line("down %v", x.down)
		},
		"up": func(a *Args) {
			for _, w := range a.Words() {
				x.down = slices.DeleteFunc(x.down, func(i int) bool { return i == a.number(w) })
			}
			x.p.Line("down %v", x.down)
		},
		// carry [from=(0,1)] [to=(2)] [types=(Vote,Finalize)]: deliver all such messages, and those that they cause
		"carry": func(a *Args) {
			wanted := x.filter(a)
			var counts counter
			for {
				k := slices.IndexFunc(x.queue, wanted)
				if k < 0 {
					break
				}
				l := x.queue[k]
				x.queue = slices.Delete(x.queue, k, k+1)
				if x.Down(l.to) || x.Down(l.from) {
					continue
				}
				counts.add(typeOf(l.message))
				step := x.handle(l.to, l.from, l.message)
				x.took(l.to, step)
				if !slices.Contains(x.watched, l.to) {
					continue
				}
				records, sends := x.records, x.sends
				x.records, x.sends = 0, 0
				if step = x.visible(step); does(step) {
					x.hid(records, sends)
					x.p.Line("%d gets %s of %d", l.to, typeOf(l.message), l.from)
					x.p.Step(step)
				} else {
					x.records, x.sends = x.records+records, x.sends+sends
				}
			}
			x.flush()
			x.p.Line("carried %s", counts.text())
		},
		// drop [from=] [to=] [types=]: lose all such messages
		"drop": func(a *Args) {
			wanted := x.filter(a)
			var counts counter
			x.queue = slices.DeleteFunc(x.queue, func(l letter) bool {
				if wanted(l) {
					counts.add(typeOf(l.message))
					return true
				}
				return false
			})
			x.p.Line("lost %s", counts.text())
		},
	}
}

// does reports whether a step is not empty.
func does(step any) bool {
	v := reflect.ValueOf(step)
	for _, field := range []string{"Persist", "Sends", "Reads", "Out", "Faults"} {
		for range elements(v, field) {
			return true
		}
	}
	return false
}

func (x *Net) filter(a *Args) func(l letter) bool {
	from, to, types := a.Ints("from"), a.Ints("to"), a.List("types")
	not := a.List("except")
	return func(l letter) bool {
		return (from == nil || slices.Contains(from, l.from)) && (to == nil || slices.Contains(to, l.to)) &&
			(types == nil || slices.Contains(types, typeOf(l.message))) && !slices.Contains(not, typeOf(l.message))
	}
}

// counter counts in the order of first appearance.
type counter struct {
	names  []string
	counts []int
}

func (c *counter) add(name string) {
	if k := slices.Index(c.names, name); k >= 0 {
		c.counts[k]++
		return
	}
	c.names, c.counts = append(c.names, name), append(c.counts, 1)
}

func (c *counter) text() string {
	if len(c.names) == 0 {
		return "nothing"
	}
	parts := make([]string, len(c.names))
	for i := range parts {
		parts[i] = fmt.Sprintf("%d %s", c.counts[i], c.names[i])
	}
	return strings.Join(parts, ", ")
}
