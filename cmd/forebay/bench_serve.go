package main

import (
	"context"
	"encoding/json"
	"fmt"

	"forebay/bench/bare"
	"forebay/bench/legacy"
	"forebay/bench/plain"
)

// benchServeCmd is what a run starts of this binary beside forebay itself.
type benchServeCmd struct {
	Legacy serveLegacyCmd `cmd:"" help:"The clients API as it was: one statement for each figure, nothing stored."`
	Origin serveOriginCmd `cmd:"" help:"Documents that caches may store."`
	Bare   serveBareCmd   `cmd:"" help:"The same documents with what a cache adds, from a handler that does nothing else."`
	Plain  servePlainCmd  `cmd:"" help:"Statements and Redis straight through their drivers."`
}

// serveLegacyCmd serves the old service.
type serveLegacyCmd struct {
	Listen   string `required:"" placeholder:"HOST:PORT" help:"Listener."`
	Database string `required:"" placeholder:"URL" help:"Postgres with the tables as they were."`
}

// Run serves until it is told to end.
func (c *serveLegacyCmd) Run(ctx context.Context) error {
	service, err := legacy.New(c.Database)
	if err != nil {
		return fmt.Errorf("cannot serve the old service: %w", err)
	}
	defer service.Close()
	l, err := listen(c.Listen, "--listen")
	if err != nil {
		return err
	}
	return bare.Serve(ctx, service.Server(), l)
}

// serveOriginCmd serves documents.
type serveOriginCmd struct {
	Listen string `required:"" placeholder:"HOST:PORT" help:"Listener."`
}

// Run serves until it is told to end.
func (c *serveOriginCmd) Run(ctx context.Context) error {
	l, err := listen(c.Listen, "--listen")
	if err != nil {
		return err
	}
	return bare.Serve(ctx, bare.NewOrigin(), l)
}

// serveBareCmd serves documents from a bare handler.
type serveBareCmd struct {
	Listen    string      `required:"" placeholder:"HOST:PORT" help:"Listener."`
	Documents map[int]int `required:"" help:"How many there are of each size in bytes: 1024=10000;16384=100."`
	Fields    string      `default:"[]" help:"Header fields to send, as JSON: [[name, value], …]."`
}

// Run serves until it is told to end.
func (c *serveBareCmd) Run(ctx context.Context) error {
	var fields [][2]string
	if err := json.Unmarshal([]byte(c.Fields), &fields); err != nil {
		return fmt.Errorf("cannot use --fields: %w", err)
	}
	l, err := listen(c.Listen, "--listen")
	if err != nil {
		return err
	}
	return bare.Serve(ctx, bare.New(c.Documents, fields), l)
}

// servePlainCmd serves what comes straight from a database or Redis.
type servePlainCmd struct {
	Listen   string `required:"" placeholder:"HOST:PORT" help:"Listener."`
	Database string `placeholder:"URL" help:"Postgres for --row and --list."`
	Row      string `placeholder:"SQL" help:"Statement of /row/{id}."`
	List     string `placeholder:"SQL" help:"Statement of /list/{id}: one value."`
	Redis    string `placeholder:"URL" help:"Redis whose values are asked for by their path."`
}

// Run serves until it is told to end.
func (c *servePlainCmd) Run(ctx context.Context) error {
	service, err := plain.New(c.Database, c.Redis, plain.Statements{Row: c.Row, List: c.List})
	if err != nil {
		return fmt.Errorf("cannot serve directly: %w", err)
	}
	defer service.Close()
	l, err := listen(c.Listen, "--listen")
	if err != nil {
		return err
	}
	return bare.Serve(ctx, service.Server(), l)
}
