package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// adminClient speaks to the admin listener of a running forebay.
type adminClient struct {
	Admin string `name:"admin" env:"FOREBAY_ADMIN" default:"http://127.0.0.1:8081" help:"URL of the admin listener."`
	Token string `name:"token" env:"FOREBAY_ADMIN_TOKEN" help:"The admin token; better given in the environment than on the command line."`
}

// clientTimeout bounds a call to the admin listener.
const clientTimeout = 10 * time.Second

// do sends the request and returns the response's status and body.
func (c *adminClient) do(ctx context.Context, method, path string, body any) (int, []byte, error) {
	return c.ask(ctx, method, path, body, http.Header{})
}

// ask is do with header fields.
func (c *adminClient) ask(ctx context.Context, method, path string, body any, header http.Header) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, nil, fmt.Errorf("encode request: %w", err)
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.Admin+path, reader)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot use --admin=%q: %w; give it as http://host:port", c.Admin, err)
	}
	request.Header = header
	request.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot reach forebay's admin listener: %w; is it running, and is --admin right?", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return 0, nil, fmt.Errorf("read answer of %s: %w", c.Admin, err)
	}
	return response.StatusCode, text, nil
}

// purgeCmd drops stored responses.
type purgeCmd struct {
	adminClient
	URLs     []string `name:"url" help:"Path and query, as clients ask for it; all its variants go."`
	Prefixes []string `name:"prefix" help:"Every path that begins so. Where it reaches into a parameter or /**, all of that rule goes; the answer names such rules in whole_rules."`
	Tags     []string `name:"tag" help:"What carries the tag."`
	Tables   []string `name:"table" help:"What depends on the table."`
	Rules    []string `name:"rule" help:"What the rule made, named as in the file: 'GET /api/v1/clients/{id}'."`
	All      bool     `name:"all" help:"Everything."`
	Soft     bool     `name:"soft" help:"Expire instead of drop: stale-while-revalidate may still serve it."`
	DryRun   bool     `name:"dry-run" help:"Only count."`
}

// Run purges and prints the count.
func (p *purgeCmd) Run(ctx context.Context) error {
	if !p.All && len(p.URLs)+len(p.Prefixes)+len(p.Tags)+len(p.Tables)+len(p.Rules) == 0 {
		return fmt.Errorf("purge needs to be told what; name it with --url, --prefix, --tag, --table or --rule, or say --all")
	}
	mode := "hard"
	if p.Soft {
		mode = "soft"
	}
	status, body, err := p.do(ctx, http.MethodPost, "/purge", map[string]any{
		"urls": p.URLs, "prefixes": p.Prefixes, "tags": p.Tags, "tables": p.Tables, "rules": p.Rules,
		"all": p.All, "mode": mode, "dry_run": p.DryRun,
	})
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("purge was refused with status %d: %s", status, body)
	}
	_, err = fmt.Fprintf(os.Stdout, "%s\n", bytes.TrimSpace(body))
	return err
}

// bypassCmd turns the kill switch.
type bypassCmd struct {
	adminClient
	State string `arg:"" enum:"on,off" help:"on or off."`
	Rule  string `arg:"" optional:"" help:"Of this rule alone, named as in the file: 'GET /api/v1/clients/{id}'."`
}

// Run turns it, and prints what it is on for.
func (b *bypassCmd) Run(ctx context.Context) error {
	on := b.State == "on"
	order := map[string]any{"all": on}
	if b.Rule != "" {
		order = map[string]any{"rule": b.Rule, "bypass": on}
	}
	status, body, err := b.do(ctx, http.MethodPost, "/bypass", order)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("the kill switch was refused with status %d: %s", status, body)
	}
	_, err = fmt.Fprintf(os.Stdout, "%s\n", bytes.TrimSpace(body))
	return err
}

// readyCmd asks /readyz.
type readyCmd struct{ adminClient }

// Run prints OK, or what is not ready.
func (r *readyCmd) Run(ctx context.Context) error {
	status, body, err := r.do(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("not ready (status %d): %s", status, bytes.TrimSpace(body))
	}
	fmt.Println("OK:", r.Admin)
	return nil
}
