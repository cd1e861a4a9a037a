package stage

import (
	"context"

	"forebay/bench/private"
)

// documentsConfiguration makes forebay what the other caches are: a cache in front of an HTTP service. What is stored
// outlives any run: to store millions takes longer than the five minutes of the kind.
const documentsConfiguration = `listen: ${FOREBAY_LISTEN}
admin: {listen: "${FOREBAY_ADMIN_LISTEN}", token: "${FOREBAY_ADMIN_TOKEN}"}
cache: {memory: "${MEMORY}", redis: "${REDIS_URL}"}
freshness: ttl
upstreams:
  origin: {url: "${ORIGIN}"}
routes:
  - route: GET /**
    kind: find
    ttl: 24h
    upstream: origin
`

// DocumentsPlan says how a forebay in front of the origin of documents is to be run.
type DocumentsPlan struct {
	Binary string
	Memory string   // of its tier: "64MiB"
	Origin string   // URL of an origin that runs already; "": one is started
	Rules  string   // more routes, before the one that catches all
	Prefix []string // before the command: taskset and its arguments
	Env    []string
}

// Documents starts a forebay in front of an origin of documents. The caller must Stop both; the origin is nil
// if one was given.
func Documents(ctx context.Context, p DocumentsPlan) (f *Forebay, origin *private.Program, err error) {
	if p.Origin == "" {
		if origin, err = StartOrigin(ctx, p.Binary); err != nil {
			return nil, nil, err
		}
		p.Origin = "http://" + origin.Address()
	}
	f, err = StartForebay(ctx, Plan{
		Binary: p.Binary, Prefix: p.Prefix, Files: map[string]string{"forebay.yaml": documentsConfiguration + p.Rules},
		Env: append([]string{"ORIGIN=" + p.Origin, "MEMORY=" + p.Memory}, p.Env...),
	})
	if err != nil && origin != nil {
		origin.Stop()
	}
	return f, origin, err
}

// DocumentsConfiguration is the configuration that Documents uses, for the report.
func DocumentsConfiguration() string { return documentsConfiguration }

// StartOrigin starts the origin of documents.
func StartOrigin(ctx context.Context, binary string) (*private.Program, error) {
	origin, err := private.NewProgram(private.Plan{Name: "origin", Command: []string{binary, "bench", "serve", "origin", "--listen", "127.0.0.1:%PORT%"}})
	if err != nil {
		return nil, err
	}
	if err := origin.Start(ctx); err != nil {
		origin.Stop()
		return nil, err
	}
	return origin, nil
}
