package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	hugeSettings = "/sys/kernel/mm/transparent_hugepage/"
	mostHuge     = 4 << 20 // bytes; larger ones, as with base pages of 64 KiB, are never in use throughout

	pageEntry   = 8       // bytes in pagemap, see the kernel's admin-guide/mm/pagemap
	pagePresent = 1 << 63 // in such an entry

	// pagesMissing is of which share of a huge page's memory nothing may be there yet: one in so many. The heap
	// grows into that before it grows elsewhere.
	pagesMissing = 8

	// pagesRefused is after how many refusals, and not one huge page, none are asked for any more.
	pagesRefused = 8

	// pagesRecheck is after how many passes what was collapsed is looked at again: what the heap gave back splits
	// huge pages.
	pagesRecheck = 16
)

// pages are the huge pages of this process. Only memory that is in use nearly throughout becomes one, so that they
// take hardly more than it took before: MADV_COLLAPSE (Linux 6.1) does one when it is asked to, and unlike
// MADV_HUGEPAGE it lets nothing in the kernel fill up later what the heap gave back. Not safe for concurrent use.
type pages struct {
	pagemap *os.File
	huge    uint64              // bytes in a huge page
	page    uint64              // bytes in another
	done    map[uint64]struct{} // addresses of huge pages
	passes  int
	given   bool // a huge page was had
	refused int
	entries []byte
}

// openPages finds out whether the kernel offers huge pages. The caller must close them.
func openPages() (*pages, error) {
	enabled, err := os.ReadFile(hugeSettings + "enabled")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoPages, err)
	}
	if bytes.Contains(enabled, []byte("[never]")) {
		return nil, fmt.Errorf("%w: %senabled says never", errNoPages, hugeSettings)
	}
	text, err := os.ReadFile(hugeSettings + "hpage_pmd_size")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoPages, err)
	}
	huge, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: size: %w", errNoPages, err)
	}
	page := uint64(os.Getpagesize())
	if huge <= page || huge > mostHuge {
		return nil, fmt.Errorf("%w: they have %d bytes", errNoPages, huge)
	}
	pagemap, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoPages, err)
	}
	return &pages{pagemap: pagemap, huge: huge, page: page, done: map[uint64]struct{}{}, entries: make([]byte, huge/page*pageEntry)}, nil
}

func (p *pages) close() { _ = p.pagemap.Close() }

// candidates returns where huge pages are worth making.
func (p *pages) candidates() ([]uint64, error) {
	regions, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("read what is mapped: %w", err)
	}
	if p.passes++; p.passes%pagesRecheck == 0 {
		maps.DeleteFunc(p.done, func(at uint64, _ struct{}) bool { return !p.used(at) })
	}
	var found []uint64
	for lines := bufio.NewScanner(bytes.NewReader(regions)); lines.Scan(); {
		from, to, ok := anonymous(lines.Text())
		if !ok {
			continue
		}
		for at := (from + p.huge - 1) / p.huge * p.huge; at+p.huge <= to; at += p.huge {
			if _, done := p.done[at]; !done && p.used(at) {
				found = append(found, at)
			}
		}
	}
	return found, nil
}

// collapse makes a huge page of what is at the address, if that is in use still. An error that is errNoPages stays,
// and another one says that the kernel has none to give at the moment.
func (p *pages) collapse(at uint64) error {
	if !p.used(at) {
		return nil
	}
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(at), uintptr(p.huge), unix.MADV_COLLAPSE)
	switch errno {
	case 0:
		p.done[at], p.given = struct{}{}, true
	case unix.EINVAL: // of a kernel that cannot do it; or what was there is gone
		if p.refused++; !p.given && p.refused >= pagesRefused {
			return fmt.Errorf("%w: madvise: %w", errNoPages, errno)
		}
	case unix.ENOMEM, unix.EAGAIN:
		return fmt.Errorf("madvise: %w", errno)
	}
	return nil
}

// used tells whether nearly all of what a huge page at the address would hold is in memory.
func (p *pages) used(at uint64) bool {
	if _, err := p.pagemap.ReadAt(p.entries, int64(at/p.page*pageEntry)); err != nil {
		return false
	}
	missing := 0
	for e := p.entries; len(e) > 0; e = e[pageEntry:] {
		if binary.NativeEndian.Uint64(e)&pagePresent == 0 {
			missing++
		}
	}
	return missing*pagesMissing <= len(p.entries)/pageEntry
}

// anonymous reads a line of /proc/self/maps, and tells whether it is memory of this process alone that may be
// written to and belongs to no file.
func anonymous(line string) (from, to uint64, ok bool) {
	var rights, offset, device string
	var inode uint64
	n, err := fmt.Sscanf(line, "%x-%x %s %s %s %d", &from, &to, &rights, &offset, &device, &inode)
	return from, to, err == nil && n == 6 && rights == "rw-p" && inode == 0
}
