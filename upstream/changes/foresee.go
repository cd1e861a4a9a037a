package changes

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"forebay/cache"
)

// Foresight is how a feed would hear of changes. A value.
type Foresight struct {
	Feed      *cache.Feed
	Uncovered []Uncovered // that would stay so until somebody does something about it; by oid
}

// Foresee tells how a feed of the configuration would hear of changes to the relations, and to their rows by the
// columns. It writes nothing.
func Foresee(ctx context.Context, cfg Config, wanted map[uint32][]int16) (Foresight, error) {
	d := &doctor{feed: &Feed{cfg: cfg.withDefaults()}}
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	if d.feed.cfg.Mode == ModeOff {
		return Foresight{Feed: &cache.Feed{Mode: cache.FeedOff, Live: true, Reason: offByChoice}}, nil
	}
	conn, err := d.feed.connect(ctx)
	if err != nil {
		return d.withoutFeed(err)
	}
	defer conn.Close(ctx)
	if err := d.allowed(ctx, conn); err != nil {
		return d.withoutFeed(err)
	}
	_, covered, uncovered, err := d.coverages(ctx, conn, wanted)
	if err != nil {
		return Foresight{}, err
	}
	return Foresight{Feed: &cache.Feed{Mode: d.feed.mode(), Live: true, Covered: covered}, Uncovered: uncovered}, nil
}

// allowed returns why the feed would not be let in.
func (d *doctor) allowed(ctx context.Context, conn *pgx.Conn) error {
	s, err := meet(ctx, conn.PgConn())
	switch {
	case err != nil:
		return err
	case d.feed.cfg.Mode == ModeNotify:
		return s.refusesTriggers(conn.PgConn())
	}
	if err := s.refuses(conn.PgConn()); err != nil {
		return err
	}
	wal, err := d.feed.connectReplication(ctx, s)
	if err == nil {
		_ = wal.Close(ctx) // it was for trying only
	}
	return err
}

// withoutFeed is what a refusal comes to: changes are known by this process's own writes, or not at all.
func (d *doctor) withoutFeed(err error) (Foresight, error) {
	var refused *refusal
	switch {
	case !errors.As(err, &refused):
		return Foresight{}, err
	case d.feed.cfg.Mode == ModeAuto:
		return Foresight{Feed: &cache.Feed{Mode: cache.FeedOff, Live: true, Reason: refused.Error()}}, nil
	}
	return Foresight{Feed: &cache.Feed{Mode: d.feed.mode(), Reason: refused.Error()}}, nil
}
