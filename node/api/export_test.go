package api

import (
	"encoding/binary"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Turns are the waits of n connections that an address opens at one moment and that are never answered.
func Turns(n int) (waits []time.Duration) {
	c, now := &client{}, time.Now()
	for range n {
		waits = append(waits, c.owe(now))
	}
	return waits
}

// Owed is the time for which wasted connections of an address count, the longest of all addresses.
func Owed(s *Server) (longest time.Duration) {
	open := s.open.Load()
	open.mu.Lock()
	defer open.mu.Unlock()
	for _, c := range open.clients {
		longest = max(longest, time.Until(c.debt))
	}
	return longest
}

// AddressesAfter is the number of addresses that are remembered after n have opened and closed a connection each, with
// no request.
func AddressesAfter(n int) int {
	l, other := net.Pipe()
	defer other.Close()
	s := &conns{max: 1, clients: make(map[netip.Prefix]*client)}
	for i := range n {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(i))
		c := &conn{Conn: l, conns: s, from: netip.PrefixFrom(netip.AddrFrom4(a), 32)}
		s.add(c, time.Now())
		s.remove(c)
	}
	return len(s.clients)
}

// Routes lists the patterns that a server's mux has.
func Routes(s *Server) []string {
	// The mux does not list its patterns, so they are read from its tree.
	var out []string
	patterns := reflect.ValueOf(s.routes).Elem().FieldByName("tree")
	collect(patterns, &out)
	slices.Sort(out)
	return out
}

// collect adds the patterns of a routing node and of those below it.
func collect(node reflect.Value, out *[]string) {
	if node.Kind() == reflect.Pointer {
		if node.IsNil() {
			return
		}
		node = node.Elem()
	}
	if p := node.FieldByName("pattern"); !p.IsNil() {
		*out = append(*out, p.Elem().FieldByName("str").String())
	}
	children := node.FieldByName("children")
	if list := children.FieldByName("s"); list.IsValid() {
		for i := range list.Len() {
			collect(list.Index(i).FieldByName("value"), out)
		}
	}
	if m := children.FieldByName("m"); m.IsValid() {
		for _, k := range m.MapKeys() {
			collect(m.MapIndex(k), out)
		}
	}
	collect(node.FieldByName("multiChild"), out)
	collect(node.FieldByName("emptyChild"), out)
}

// QueryFields lists the query parameters that the handlers read, by the tags of their input types.
func QueryFields() map[string][]string {
	out := make(map[string][]string)
	for id, t := range map[string]reflect.Type{
		"submit-transactions": reflect.TypeFor[submitIn](), "get-transaction": reflect.TypeFor[txIn](), "get-account": reflect.TypeFor[accountIn](),
		"get-block": reflect.TypeFor[blockIn](), "get-events": reflect.TypeFor[eventsIn](), "get-network": reflect.TypeFor[networkIn](),
		"trace-transaction": reflect.TypeFor[traceIn](), "append-payloads": reflect.TypeFor[appendIn](), "read-log": reflect.TypeFor[logIn](),
		"get-payload": reflect.TypeFor[payloadIn](),
	} {
		for i := range t.NumField() {
			if name, _, _ := strings.Cut(t.Field(i).Tag.Get("query"), ","); name != "" {
				out[id] = append(out[id], name)
			}
		}
		slices.Sort(out[id])
	}
	return out
}
