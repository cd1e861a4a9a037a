package legacy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/valyala/fasthttp"
)

// Connections is the size of the pool.
const Connections = 10

// requestTimeout bounds one request, the wait for a connection included.
const requestTimeout = 30 * time.Second

// Service answers the clients API. Safe for concurrent use.
type Service struct {
	pool   *pgxpool.Pool
	server *fasthttp.Server
}

// New makes a service on a database and connects to nothing yet.
func New(databaseURL string) (*Service, error) {
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("read the database's URL: %w", err)
	}
	config.MaxConns = Connections
	config.ConnConfig.RuntimeParams["application_name"] = "legacy"
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("make the pool: %w", err)
	}
	s := &Service{pool: pool}
	s.server = &fasthttp.Server{Handler: s.handle, Name: "legacy", ReadBufferSize: 16 << 10, MaxRequestBodySize: 4 << 20}
	return s, nil
}

// Server is what answers.
func (s *Service) Server() *fasthttp.Server { return s.server }

// Close lets go of the database.
func (s *Service) Close() { s.pool.Close() }

// handle routes.
func (s *Service) handle(rc *fasthttp.RequestCtx) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	path := string(rc.Path())
	optimized, isOptimized := strings.CutPrefix(path, "/api/v1/optimized/clients/")
	id, isClient := strings.CutPrefix(path, "/api/v1/clients/")
	method := string(rc.Method())
	var data any
	var err error
	switch {
	case path == "/pool":
		stat := s.pool.Stat()
		data = map[string]int32{"in_use": stat.AcquiredConns(), "max": stat.MaxConns()}
	case isOptimized && optimized == "dashboard":
		data, err = s.dashboard(ctx)
	case isOptimized && optimized == "search/advanced":
		data, err = s.search(ctx, rc.QueryArgs())
	case isOptimized && optimized == "analytics/performance":
		data, err = s.analytics(ctx, rc.QueryArgs())
	case isOptimized && optimized == "batch" && method == "POST":
		data, err = s.batch(ctx, rc.PostBody())
	case isClient && method == "GET":
		data, err = s.client(ctx, id)
	case isClient && method == "PUT":
		data, err = s.update(ctx, id, rc.PostBody())
	default:
		rc.SetStatusCode(fasthttp.StatusNotFound)
		return
	}
	if isOptimized && err == nil {
		data = map[string]any{"status": "success", "data": data}
	}
	answer(rc, data, err)
}

// answer writes the data, or what went wrong.
func answer(rc *fasthttp.RequestCtx, data any, err error) {
	var refused *pgconn.PgError
	switch {
	case err == nil:
	case errors.Is(err, pgx.ErrNoRows):
		rc.SetStatusCode(fasthttp.StatusNotFound)
		data = map[string]string{"detail": "no such client"}
	case errors.As(err, &refused) && (strings.HasPrefix(refused.Code, "22") || strings.HasPrefix(refused.Code, "23")):
		rc.SetStatusCode(fasthttp.StatusUnprocessableEntity)
		data = map[string]string{"detail": "refused by the database"}
	default:
		rc.SetStatusCode(fasthttp.StatusServiceUnavailable)
		data = map[string]string{"detail": "the database does not answer"}
	}
	body, err := json.Marshal(data)
	if err != nil {
		rc.Error("cannot encode", fasthttp.StatusInternalServerError)
		return
	}
	rc.SetContentType("application/json")
	rc.SetBody(body)
}
