package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/valyala/fasthttp"

	"forebay/cache"
	"forebay/cache/memory"
)

// Compression levels: what costs about a millisecond for 100 KiB and is paid once per stored response.
const (
	gzipLevel   = 6
	brotliLevel = 5
	zstdLevel   = fasthttp.CompressZstdDefault
)

// encoder compresses stored responses that are asked for in a content coding, one at a time and off the
// request's path: the request that finds none is served as it is. Safe for concurrent use.
type encoder struct {
	memory  *memory.Store
	metrics *proxyMetrics
	min     int // bytes of body from which it is worth it
	queue   chan encodeJob
}

type encodeJob struct {
	key      string
	response *cache.StoredResponse
	coding   string
}

// queueLength bounds the jobs that wait; what does not fit is asked for again by the next request.
const queueLength = 64

func newEncoder(store *memory.Store, m *proxyMetrics, minSize int) *encoder {
	return &encoder{memory: store, metrics: m, min: minSize, queue: make(chan encodeJob, queueLength)}
}

// run works until ctx ends.
func (e *encoder) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-e.queue:
			e.encode(job)
		}
	}
}

// worthwhile reports whether the response is one that clients should be offered compressed.
func (e *encoder) worthwhile(r *cache.StoredResponse) bool {
	return e != nil && len(r.Body) >= e.min && r.Status == fasthttp.StatusOK && r.Compressible
}

// ask has the response compressed for those who come later. It never blocks.
func (e *encoder) ask(key []byte, r *cache.StoredResponse, coding string) {
	select {
	case e.queue <- encodeJob{key: string(key), response: r, coding: coding}:
	default:
		e.metrics.compressing.Inc()
	}
}

// encode adds the encoding to what is stored, if that is still the response it was made of.
func (e *encoder) encode(job encodeJob) {
	stored := e.memory.Lookup([]byte(job.key))
	if stored == nil || stored.Encoding(job.coding) != nil || stored.ETag != job.response.ETag {
		return
	}
	body := compress(job.coding, stored.Body)
	if len(body) >= len(stored.Body) {
		body = stored.Body[:0:0] // kept as the answer that it is not worth it
	}
	enc := cache.Encoding{Coding: job.coding, Body: body, ETag: cache.EncodedTag(stored.ETag, job.coding)}
	if e.memory.Replace([]byte(job.key), stored, stored.WithEncoding(enc)) {
		e.metrics.compressed.Inc()
	}
}

func compress(coding string, body []byte) []byte {
	switch coding {
	case "br":
		return fasthttp.AppendBrotliBytesLevel(nil, body, brotliLevel)
	case "zstd":
		return fasthttp.AppendZstdBytesLevel(nil, body, zstdLevel)
	}
	return fasthttp.AppendGzipBytesLevel(nil, body, gzipLevel)
}

// entityTag returns a strong validator of the body. A body is often made of what clients wrote, so only a
// cryptographic hash keeps two bodies from sharing a tag on purpose.
func entityTag(body []byte) string {
	sum := sha256.Sum256(body)
	var tag [2 + 2*16]byte
	tag[0], tag[len(tag)-1] = '"', '"'
	hex.Encode(tag[1:], sum[:16])
	return string(tag[:])
}

// compressible reports whether the response is text of some kind, which whoever made it lets be sent in another
// form than it came in.
func compressible(r *cache.Traits) bool {
	t, _, _ := bytes.Cut(r.ContentType, []byte{';'})
	t = bytes.TrimSpace(t)
	text := bytes.HasPrefix(t, []byte("text/")) ||
		bytes.HasSuffix(t, []byte("json")) || bytes.HasSuffix(t, []byte("xml")) ||
		bytes.Equal(t, []byte("application/javascript")) || bytes.Equal(t, []byte("image/svg+xml"))
	return text && cache.MayTransform(r.Header)
}

func hasField(fields []cache.Field, name string) bool {
	for _, f := range fields {
		if bytes.EqualFold(f.Name, []byte(name)) {
			return true
		}
	}
	return false
}
