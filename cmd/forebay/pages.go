package main

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// The kernel is asked for huge pages this often, and for so many at once at most: each is copied, which takes a
// core the better part of a millisecond.
const (
	pagesEvery  = time.Second
	pagesAtOnce = 64
)

// errNoPages says that this kernel gives no huge pages to those who ask for them, and never will.
var errNoPages = errors.New("huge pages cannot be had here")

// runPages has what this process keeps in memory put on huge pages, as far as the kernel offers that, until ctx
// ends. A hit on one of many stored responses looks into a handful of places of a large heap, none of which was
// looked into lately: on pages of 4 KiB the processor has to find out where each of them is, too, which costs more
// than the memory's own wait, twofold on a virtual machine.
func runPages(ctx context.Context, logger *slog.Logger) error {
	p, err := openPages()
	if err != nil {
		logger.Debug("no huge pages", "err", err)
		return nil
	}
	defer p.close()
	ticker := time.NewTicker(pagesEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if _, err := p.collapse(pagesAtOnce); errors.Is(err, errNoPages) {
			logger.Debug("no huge pages", "err", err)
			return nil
		} else if err != nil {
			logger.Debug("huge pages", "err", err)
		}
	}
}
