package plain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"
)

// connections to the database, as many as forebay's pool has.
const connections = 10

// Statements are what is run straight, with the path's last part as @id.
type Statements struct {
	Row  string // GET /row/{id}: its values as they come from the wire
	List string // GET /list/{id}: one value, json_agg's
}

// Service answers. Safe for concurrent use.
type Service struct {
	pool       *pgxpool.Pool
	redis      *redis.Client
	statements Statements
	server     *fasthttp.Server
}

// New makes a service on a database and a Redis, either of which may be "" where it is not asked for.
func New(databaseURL, redisURL string, statements Statements) (*Service, error) {
	s := &Service{statements: Statements{Row: positional(statements.Row), List: positional(statements.List)}}
	s.server = &fasthttp.Server{Handler: s.handle, NoDefaultServerHeader: true, ReadBufferSize: 16 << 10}
	if databaseURL != "" {
		config, err := pgxpool.ParseConfig(databaseURL)
		if err != nil {
			return nil, fmt.Errorf("read the database's URL: %w", err)
		}
		config.MaxConns = connections
		if s.pool, err = pgxpool.NewWithConfig(context.Background(), config); err != nil {
			return nil, fmt.Errorf("make the pool: %w", err)
		}
	}
	if redisURL != "" {
		options, err := redis.ParseURL(redisURL)
		if err != nil {
			return nil, fmt.Errorf("read Redis' URL: %w", err)
		}
		options.PoolSize = 64 // one for each connection that asks
		s.redis = redis.NewClient(options)
	}
	return s, nil
}

// positional writes the one parameter as Postgres takes it.
func positional(statement string) string { return strings.ReplaceAll(statement, "@id", "$1") }

// Server is what answers.
func (s *Service) Server() *fasthttp.Server { return s.server }

// Close lets go of the database and of Redis.
func (s *Service) Close() {
	if s.pool != nil {
		s.pool.Close()
	}
	if s.redis != nil {
		_ = s.redis.Close() // nothing is left to be said to it
	}
}

func (s *Service) handle(rc *fasthttp.RequestCtx) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	path := string(rc.Path())
	row, isRow := strings.CutPrefix(path, "/row/")
	list, isList := strings.CutPrefix(path, "/list/")
	var body []byte
	var err error
	switch {
	case isRow && s.pool != nil:
		body, err = s.row(ctx, row)
	case isList && s.pool != nil:
		err = s.pool.QueryRow(ctx, s.statements.List, list).Scan(&body)
	case s.redis != nil:
		body, err = s.redis.Get(ctx, path).Bytes()
	default:
		err = errNothing
	}
	if err != nil {
		rc.Error(err.Error(), fasthttp.StatusServiceUnavailable)
		return
	}
	rc.SetContentType("application/json")
	rc.Response.SetBodyRaw(body)
}

// errNothing is the answer to what is not asked for.
var errNothing = errors.New("there is nothing here")

// row runs the statement and gives its values as they come, without making JSON of them.
func (s *Service) row(ctx context.Context, id string) ([]byte, error) {
	rows, err := s.pool.Query(ctx, s.statements.Row, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, errors.Join(rows.Err(), pgx.ErrNoRows)
	}
	var body []byte
	for _, value := range rows.RawValues() {
		body = append(append(body, value...), ',')
	}
	rows.Close()
	return body, rows.Err()
}
