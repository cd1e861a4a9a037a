package cache

import (
	"testing"
	"unsafe"
)

// TestWhatEachStoredResponseTakes holds what there may be millions of to the sizes that the allocator has.
func TestWhatEachStoredResponseTakes(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(Standing{}); size > 64 {
		t.Errorf("a Standing has %d bytes", size)
	}
	if size := unsafe.Sizeof(StoredResponse{}); size > 112 {
		t.Errorf("a StoredResponse has %d bytes", size)
	}
}
