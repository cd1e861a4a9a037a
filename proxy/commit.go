package proxy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/zeebo/xxh3"

	"forebay/cache"
	"forebay/upstream/origin"
)

// The token that lets the caller of a write read it on every instance:
//
//	Forebay-Commit: base64url of
//	  8 bytes  digest of the epoch, as the log names it
//	  8 bytes  WAL position behind the commit, big-endian
//	 16 bytes  the beginning of the HMAC-SHA-256 of the 16 before
//
// A read that brings it is answered from what is stored only once the stream has passed the position, and by a
// standby only if that has replayed as far; one of another epoch, or without a stream, is answered by its source, the
// primary. It is signed so that nobody can have
// everything answered by the source at no cost of their own. One that was not signed here is ignored.
const (
	commitField   = "Forebay-Commit"
	signedBytes   = 16
	commitBytes   = signedBytes + 16
	positionLimit = 2 * time.Second // to ask for the position behind a write that has been answered for
)

// FeedPosition is as much of the change stream as the path asks for.
type FeedPosition interface {
	// Passed reports whether everything that committed before the WAL position is in the log.
	Passed(position uint64) bool
}

// newCommitKey derives the key of tokens from the administrator's, so that instances with one configuration
// know each other's; without one it is this process's own.
func newCommitKey(secret string) []byte {
	if secret == "" {
		key := make([]byte, sha256.Size)
		_, _ = rand.Read(key) // never fails (crypto/rand)
		return key
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("forebay commit token"))
	return mac.Sum(nil)
}

// stamp gives the caller of a write the token. Without a stream there is nothing that a token could wait for.
func (p *Proxy) stamp(x *exchange) {
	if f := p.log.Feed(); f.Mode == cache.FeedOff || x.state.Database == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), positionLimit)
	defer cancel()
	position, err := x.state.Database.Position(ctx)
	if err != nil {
		return // the write has happened; its caller reads it here all the same
	}
	x.ctx.Response.Header.SetBytesV(commitField, p.newCommit(position))
}

func (p *Proxy) newCommit(position uint64) []byte {
	token := make([]byte, 0, commitBytes)
	token = binary.BigEndian.AppendUint64(token, xxh3.HashString(p.log.Epoch()))
	token = binary.BigEndian.AppendUint64(token, position)
	token = p.sign(token)
	return base64.RawURLEncoding.AppendEncode(nil, token)
}

func (p *Proxy) sign(token []byte) []byte {
	mac := hmac.New(sha256.New, p.commitKey)
	mac.Write(token[:signedBytes])
	return append(token[:signedBytes], mac.Sum(nil)[:commitBytes-signedBytes]...)
}

// ahead reports whether the request brings a token of a write that the log may not know yet.
func (p *Proxy) ahead(x *exchange) bool {
	if !x.judge.May(origin.ForebayCommit) {
		return false
	}
	text := x.ctx.Request.Header.Peek(commitField)
	if len(text) == 0 {
		return false
	}
	var room [2 * commitBytes]byte
	token, err := base64.RawURLEncoding.AppendDecode(room[:0], text)
	if err != nil || len(token) != commitBytes {
		return false
	}
	signed := p.sign(append(make([]byte, 0, commitBytes), token[:signedBytes]...))
	if !hmac.Equal(signed, token) {
		return false
	}
	x.token = binary.BigEndian.Uint64(token[8:])
	x.behind = binary.BigEndian.Uint64(token) != xxh3.HashString(p.log.Epoch()) || p.feed == nil || !p.feed.Passed(x.token)
	return x.behind
}
