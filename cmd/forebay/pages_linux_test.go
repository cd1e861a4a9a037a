package main

import (
	"errors"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestWhatIsInUseIsPutOnHugePages, and what is not is left alone: it would take memory that nobody uses.
func TestWhatIsInUseIsPutOnHugePages(t *testing.T) {
	p, err := openPages()
	if errors.Is(err, errNoPages) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	const count = 8
	region, err := unix.Mmap(-1, 0, (count+1)*int(p.huge), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(region) }()
	start := uint64(uintptr(unsafe.Pointer(&region[0])))
	from := int((start+p.huge-1)/p.huge*p.huge - start)
	for n := range count {
		step := int(p.page)
		if n%2 == 1 {
			step *= 2 // every other page is in use
		}
		for at := 0; at < int(p.huge); at += step {
			region[from+n*int(p.huge)+at] = byte(n + 1)
		}
	}
	if err := p.pass(t.Context()); errors.Is(err, errNoPages) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	if !p.given {
		t.Skip("this kernel makes no huge pages of what is there already")
	}
	for n := range count {
		at := start + uint64(from) + uint64(n)*p.huge
		if _, done := p.done[at]; done != (n%2 == 0) {
			t.Errorf("part %d: on a huge page: %v", n, done)
		}
		if got := region[from+n*int(p.huge)]; got != byte(n+1) {
			t.Errorf("part %d begins with %d", n, got)
		}
		if p.used(at) != (n%2 == 0) {
			t.Errorf("part %d: in use nearly throughout: %v", n, n%2 != 0)
		}
	}
}

func TestOnlyAnonymousMemoryIsPutOnHugePages(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"34836800000-34838c00000 rw-p 00000000 00:00 0 ":                             true,
		"00400000-012c8000 r-xp 00000000 fe:00 9995250                      /bin/fb": false,
		"021c2000-022bb000 rw-p 01dc2000 fe:00 9995250                      /bin/fb": false,
		"34834000000-34836800000 ---p 00000000 00:00 0 ":                             false,
		"7fb7fba2c000-7fb7fbe00000 rw-s 00000000 00:01 1024 /dev/zero (deleted)":     false,
		"": false,
	} {
		if _, _, ok := anonymous(line); ok != want {
			t.Errorf("%q: %v", line, ok)
		}
	}
	if from, to, _ := anonymous("34836800000-34838c00000 rw-p 00000000 00:00 0 "); from != 0x34836800000 || to != 0x34838c00000 {
		t.Errorf("from %x to %x", from, to)
	}
}
