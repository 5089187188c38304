package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// The API has no password, and a replica often listens on the loopback of a machine with a browser. So a web page must
// not reach it. Three rules ensure that:
//
//   - The Host of a request is an IP address, localhost or a configured name. A page whose own name was made to resolve
//     to this machine (DNS rebinding) sends its own name.
//   - A request with an Origin comes from a web page, and is refused unless the origin is configured.
//   - A request without an Origin that a browser makes for a page of another site (an image, a link) is marked by the
//     browser in Sec-Fetch-Site, and is refused.

// preflightAge is the time for which a browser keeps the answer to a preflight request, in seconds.
const preflightAge = "600"

// admitOrigin answers requests that come from web pages, or were sent to another host, and returns true if it has
// answered.
func (s *Server) admitOrigin(w http.ResponseWriter, r *http.Request) (answered bool) {
	if !s.isHost(r.Host) {
		write(w, problem(http.StatusMisdirectedRequest, fmt.Sprintf(
			"the host name %q is not a name of this replica: use an IP address or localhost, or add the name to its setting api.hosts", hostOf(r.Host))))
		return true
	}
	origins, site := r.Header.Values("Origin"), r.Header.Get("Sec-Fetch-Site")
	if len(origins) == 0 {
		if site == "cross-site" || site == "same-site" {
			write(w, problem(http.StatusForbidden, "a page of another site has made this request: web pages must not use this replica"))
			return true
		}
		return false
	}
	w.Header().Add("Vary", "Origin")
	if len(origins) > 1 || !slices.Contains(s.cfg.Origins, origins[0]) {
		write(w, problem(http.StatusForbidden, fmt.Sprintf(
			"web pages of origin %q must not use this replica: its setting api.origins lists the origins that may", strings.Join(origins, ", "))))
		return true
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origins[0])
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	if r.Method != http.MethodOptions {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Content-Type, Last-Event-ID")
	h.Set("Access-Control-Max-Age", preflightAge)
	if r.Header.Get("Access-Control-Request-Private-Network") != "" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// hostOf is a Host header without the port.
func hostOf(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

// isHost reports whether a Host header names this replica. HTTP/1.0 has none, and no browser uses it.
func (s *Server) isHost(host string) bool {
	name := hostOf(host)
	if name == "" || name == "localhost" {
		return true
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return slices.ContainsFunc(s.cfg.Hosts, func(own string) bool { return strings.EqualFold(own, name) })
}
