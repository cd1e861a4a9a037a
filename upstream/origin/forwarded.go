package origin

import (
	"bytes"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"strconv"

	"github.com/valyala/fasthttp"

	"forebay/cache"
)

// maxHops is how often a request may have come through a forebay.
const maxHops = 8

// ours are the fields that Pass writes itself, in lower case. A client's fields that some services take for
// them, with an underscore for a hyphen, are dropped with them.
var ours = map[string]bool{
	"host": true, "via": true, "expect": true, "max-forwards": true,
	"forwarded": true, "x-forwarded-for": true, "x-forwarded-host": true, "x-forwarded-proto": true,
}

// believed are the fields by which a proxy says where a request comes from or was meant for. Of a peer that
// is no trusted proxy they are dropped.
var believed = map[string]bool{
	"x-forwarded-port": true, "x-forwarded-server": true, "x-forwarded-prefix": true, "x-forwarded-scheme": true,
	"x-forwarded-ssl": true, "x-real-ip": true, "x-client-ip": true, "true-client-ip": true, "x-cluster-client-ip": true,
	"x-original-url": true, "x-rewrite-url": true, "x-original-host": true, "x-host": true,
}

// forward writes the client's fields and those about the way here.
func (o *Origin) forward(ctx *fasthttp.RequestCtx, h *head) error {
	in := &ctx.Request.Header
	peer := peerOf(ctx)
	trusted := o.trusts(peer)
	host := in.Host()
	if o.config.ForwardHost && len(host) > 0 {
		h.add(fasthttp.HeaderHost, host)
	} else {
		h.addString(fasthttp.HeaderHost, o.host)
	}
	connection := bytes.Join(in.PeekAll(fasthttp.HeaderConnection), []byte{','})
	for name, value := range requestFields(in) {
		if !isForwarded(name, connection, trusted) {
			continue
		}
		if (is(name, fasthttp.HeaderIfMatch) || is(name, fasthttp.HeaderIfNoneMatch)) && IsUnsafe(string(in.Method())) {
			value = cache.AppendPlainTags(nil, value)
		}
		h.addBytes(name, value)
	}
	if n, ok := maxForwards(in); ok {
		h.addString(fasthttp.HeaderMaxForwards, strconv.Itoa(n-1))
	}
	if protocol := wanted(ctx); protocol != "" {
		h.addString(fasthttp.HeaderConnection, "Upgrade")
		h.addString(fasthttp.HeaderUpgrade, protocol)
	}
	writeWay(ctx, h, peer, trusted)
	return writeVia(in, h)
}

// IsUnsafe reports whether the method may change something (RFC 9110 s.9.2.1).
func IsUnsafe(method string) bool {
	switch method {
	case fasthttp.MethodGet, fasthttp.MethodHead, fasthttp.MethodOptions, fasthttp.MethodTrace:
		return false
	}
	return true
}

// requestFields yields the fields as they were sent. A request that was not read from a connection has them
// in the parser's form only.
func requestFields(in *fasthttp.RequestHeader) iter.Seq2[[]byte, []byte] {
	raw := in.RawHeaders()
	if len(raw) == 0 {
		return in.All()
	}
	return func(yield func([]byte, []byte) bool) {
		for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
			name, value, ok := bytes.Cut(line, []byte{':'})
			if ok && !yield(name, bytes.Trim(value, " \t")) {
				return
			}
		}
	}
}

// isForwarded reports whether a client's field goes on as it is.
func isForwarded(name, connection []byte, trusted bool) bool {
	if isHopByHop(name, connection) {
		return false
	}
	var room [32]byte
	if len(name) > len(room) {
		return true
	}
	plain := lower(room[:0], name)
	underscored := bytes.IndexByte(plain, '_') >= 0
	for i, c := range plain {
		if c == '_' {
			plain[i] = '-'
		}
	}
	if underscored && (hopByHop[string(plain)] || believed[string(plain)]) {
		return false
	}
	return !ours[string(plain)] && (trusted || !believed[string(plain)])
}

// writeWay says where the request comes from, in both of the usual forms.
func writeWay(ctx *fasthttp.RequestCtx, h *head, peer netip.Addr, trusted bool) {
	in := &ctx.Request.Header
	told := func(name string) []byte {
		if !trusted {
			return nil
		}
		return bytes.Join(in.PeekAll(name), []byte(", "))
	}
	scheme := "http"
	if ctx.IsTLS() {
		scheme = "https"
	}
	address := "unknown"
	if peer.IsValid() {
		address = peer.String()
	}
	host := in.Host()
	forwardedFor := told(fasthttp.HeaderXForwardedFor)
	if len(forwardedFor) > 0 {
		forwardedFor = append(forwardedFor, ", "...)
	}
	h.add(fasthttp.HeaderXForwardedFor, append(forwardedFor, address...))
	if told := told(fasthttp.HeaderXForwardedHost); len(told) > 0 {
		h.add(fasthttp.HeaderXForwardedHost, told)
	} else if len(host) > 0 {
		h.add(fasthttp.HeaderXForwardedHost, host)
	}
	if told := told(fasthttp.HeaderXForwardedProto); len(told) > 0 {
		h.add(fasthttp.HeaderXForwardedProto, told)
	} else {
		h.addString(fasthttp.HeaderXForwardedProto, scheme)
	}
	forwarded := told(fasthttp.HeaderForwarded)
	if len(forwarded) > 0 {
		forwarded = append(forwarded, ", "...)
	}
	if peer.Is6() {
		address = "[" + address + "]"
	}
	forwarded = fmt.Appendf(forwarded, "for=%q", address)
	if len(host) > 0 {
		forwarded = fmt.Appendf(forwarded, ";host=%q", host)
	}
	forwarded = append(append(forwarded, ";proto="...), scheme...)
	h.add(fasthttp.HeaderForwarded, forwarded)
}

// writeVia adds this hop to Via, unless the request runs in a circle.
func writeVia(in *fasthttp.RequestHeader, h *head) error {
	lines := in.PeekAll(fasthttp.HeaderVia)
	hops := 0
	for _, line := range lines {
		hops += bytes.Count(line, []byte(" "+pseudonym))
	}
	if hops >= maxHops {
		return classify(errLoop, connecting)
	}
	h.add(fasthttp.HeaderVia, joinedVia(lines, in.Protocol()))
	return nil
}

// peerOf returns the address of the connection's other end; invalid where it has none.
func peerOf(ctx *fasthttp.RequestCtx) netip.Addr {
	if tcp, ok := ctx.RemoteAddr().(*net.TCPAddr); ok {
		addr, _ := netip.AddrFromSlice(tcp.IP)
		return addr.Unmap()
	}
	return netip.Addr{}
}

func (o *Origin) trusts(peer netip.Addr) bool {
	for _, p := range o.trusted {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// maxForwards returns the field's number for the methods that have one (RFC 9110 s.7.6.2).
func maxForwards(in *fasthttp.RequestHeader) (int, bool) {
	if !in.IsOptions() && !in.IsTrace() {
		return 0, false
	}
	n, err := strconv.Atoi(string(in.Peek(fasthttp.HeaderMaxForwards)))
	return n, err == nil && n >= 0
}

// answerInstead answers a request that says it must not go further.
func (o *Origin) answerInstead(ctx *fasthttp.RequestCtx) bool {
	n, ok := maxForwards(&ctx.Request.Header)
	if !ok || n > 0 {
		return false
	}
	if ctx.Request.Header.IsTrace() {
		ctx.SetStatusCode(fasthttp.StatusMethodNotAllowed) // a trace would show the fields that proxies before this one added
	} else {
		ctx.SetStatusCode(fasthttp.StatusNoContent)
	}
	return true
}

// tokenLength returns how many bytes of s, from its beginning, are a token (RFC 9110 s.5.6.2).
func tokenLength(s []byte) int {
	for i, c := range s {
		if !tokenBytes[c] {
			return i
		}
	}
	return len(s)
}

const alphanumerics = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

var (
	tokenBytes = bytesOf(alphanumerics + "!#$%&'*+-.^_`|~")
	hostBytes  = bytesOf(alphanumerics + "-._~%!$&'()*+,;=:[]")
)

func bytesOf(set string) (t [256]bool) {
	for _, c := range []byte(set) {
		t[c] = true
	}
	return t
}
