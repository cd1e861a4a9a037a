package cache

import (
	"strings"
	"sync"
	"sync/atomic"
)

// maxKeyPurges bounds the key purges remembered one by one. Going through all of them takes some ten
// microseconds, once for each response that was not looked at in the meantime.
const maxKeyPurges = 4096

// keyPurges are the newest purges by key prefix. Older ones are forgotten by a floor: a response that was
// not judged since is outdated, whatever its key. Safe for concurrent use.
type keyPurges struct {
	marked atomic.Uint64 // position of the newest; read without the lock

	mu     sync.RWMutex // guards all below
	ring   []keyPurge   // next is the oldest once it is full
	next   int
	forgot Position // the newest purge that is no longer in ring
}

type keyPurge struct {
	at     Position
	prefix string
	soft   bool
}

// purge remembers that keys which begin with prefix are purged. Called with the log's lock held.
func (k *keyPurges) purge(at Position, prefix string, soft bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := keyPurge{at: at, prefix: prefix, soft: soft}
	if len(k.ring) < maxKeyPurges {
		k.ring = append(k.ring, p)
	} else {
		k.forgot = k.ring[k.next].at
		k.ring[k.next] = p
		k.next = (k.next + 1) % maxKeyPurges
	}
	k.marked.Store(uint64(at))
}

// judge looks at the purges after since.
func (k *keyPurges) judge(key string, since Position) Verdict {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if since < k.forgot {
		return Outdated
	}
	verdict := Current
	for i := range k.ring {
		p := &k.ring[(k.next+len(k.ring)-1-i)%len(k.ring)] // newest first
		if p.at <= since {
			break
		}
		if !strings.HasPrefix(key, p.prefix) {
			continue
		}
		if !p.soft {
			return Outdated
		}
		verdict = Softened
	}
	return verdict
}
