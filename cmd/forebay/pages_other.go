//go:build !linux

package main

// pages are the huge pages of this process: there is nothing to be done for them here.
type pages struct{}

func openPages() (*pages, error) { return nil, errNoPages }

func (*pages) close() {}

func (*pages) candidates() ([]uint64, error) { return nil, errNoPages }

func (*pages) collapse(uint64) error { return errNoPages }
