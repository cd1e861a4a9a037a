package main

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

const (
	pagesEvery = time.Second // is looked for more to be put on huge pages

	// pagesRest is how much longer than making one took the next one waits for: each is copied, and whoever in this
	// process needs a page of any kind from the kernel waits for that. Making one takes some 0.1 ms on a machine of
	// its own, and milliseconds on a virtual one that has to be given the memory first.
	pagesRest = 24
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
		if err := p.pass(ctx); errors.Is(err, errNoPages) {
			logger.Debug("no huge pages", "err", err)
			return nil
		} else if err != nil {
			logger.Debug("huge pages", "err", err)
		}
	}
}

// pass makes a huge page of all that is in use by now, one after the other. An error that is errNoPages stays.
func (p *pages) pass(ctx context.Context) error {
	found, err := p.candidates()
	if err != nil {
		return err
	}
	for _, at := range found {
		began := time.Now()
		if err := p.collapse(at); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pagesRest * time.Since(began)):
		}
	}
	return nil
}
