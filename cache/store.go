package cache

import "context"

// Store is a tier that keeps stored responses. Implementations are safe for concurrent use and pass
// the suite in cachetest.
type Store interface {
	// Get returns the response stored under key, or nil when there is none that may still be used in
	// any way. It does not judge currency: the caller asks the response's Standing. The key is not kept.
	// An error means that the tier could not be asked; the caller goes on as after a miss. May block up
	// to the tier's time budget.
	Get(ctx context.Context, key []byte) (*StoredResponse, error)

	// Set stores the response under a copy of key, replacing what was there. The store may refuse
	// (too large, no lifetime left, not admitted) without an error. May block as Get does.
	Set(ctx context.Context, key []byte, r *StoredResponse) error

	// Delete removes what is stored under key, if anything. May block as Get does.
	Delete(ctx context.Context, key []byte) error
}
