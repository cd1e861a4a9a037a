package legacy

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// columns of a client, in the order of record's fields.
const columns = "id::text, name, email, phone, program_type, status, notes, metadata, created_at, updated_at"

// record is a client as the API has it.
type record struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Email       string          `json:"email"`
	Phone       *string         `json:"phone"`
	ProgramType string          `json:"program_type"`
	Status      string          `json:"status"`
	Notes       string          `json:"notes"`
	Metadata    json.RawMessage `json:"metadata"`
	CreatedAt   time.Time       `json:"created_at"`
	UpdatedAt   time.Time       `json:"updated_at"`
	IsActive    bool            `json:"is_active"`
	Days        int             `json:"program_duration_days"`
}

// scan reads a client from a row with columns.
func scan(row pgx.CollectableRow) (record, error) {
	var r record
	err := row.Scan(&r.ID, &r.Name, &r.Email, &r.Phone, &r.ProgramType, &r.Status, &r.Notes, &r.Metadata, &r.CreatedAt, &r.UpdatedAt)
	r.IsActive = r.Status == "active"
	r.Days = int(time.Since(r.CreatedAt).Hours() / 24)
	return r, err
}

// one runs a statement that gives one client.
func (s *Service) one(ctx context.Context, sql string, args ...any) (record, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return record{}, fmt.Errorf("query client: %w", err)
	}
	return pgx.CollectExactlyOneRow(rows, scan)
}

func (s *Service) client(ctx context.Context, id string) (any, error) {
	return s.one(ctx, "select "+columns+" from clients where id = $1", id)
}

// given is a client as a request brings it.
type given struct {
	Name        *string `json:"name"`
	Email       *string `json:"email"`
	Phone       *string `json:"phone"`
	ProgramType *string `json:"program_type"`
	Status      *string `json:"status"`
	Notes       *string `json:"notes"`
}

// update changes the fields given.
func (s *Service) update(ctx context.Context, id string, body []byte) (any, error) {
	var g given
	if err := json.Unmarshal(body, &g); err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return s.one(ctx, `update clients set name = coalesce($2, name), email = coalesce($3, email), phone = coalesce($4, phone),
			program_type = coalesce($5, program_type), status = coalesce($6, status), notes = coalesce($7, notes)
		where id = $1 returning `+columns, id, g.Name, g.Email, g.Phone, g.ProgramType, g.Status, g.Notes)
}

// batch inserts one after the other, each durable by itself: a bad one does not lose the good ones.
func (s *Service) batch(ctx context.Context, body []byte) (any, error) {
	var items []given
	if err := json.Unmarshal(body, &items); err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	created, failed := []record{}, []any{}
	for _, g := range items {
		r, err := s.one(ctx, `insert into clients (name, email, phone, program_type, status, notes)
			values ($1, $2, $3, $4, coalesce($5, 'trial'), coalesce($6, '')) returning `+columns,
			g.Name, g.Email, g.Phone, g.ProgramType, g.Status, g.Notes)
		if err != nil {
			failed = append(failed, map[string]any{"client_data": g, "error": "could not be created"})
			continue
		}
		created = append(created, r)
	}
	return map[string]any{
		"created_clients": created, "errors": failed,
		"summary": map[string]any{
			"total_requested": len(items), "successful": len(created), "failed": len(failed),
			"success_rate": 100 * float64(len(created)) / float64(max(len(items), 1)),
		},
	}, nil
}
