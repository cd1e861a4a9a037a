package changes

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Names of what the SQL of this file makes.
const (
	triggerRows     = defaultName + "_notify_rows"
	triggerTruncate = defaultName + "_notify_truncate"
	eventCommand    = defaultName + "_ddl_command"
	eventDrop       = defaultName + "_ddl_drop"
	channel         = defaultName + "_changes"
)

const schemaSQL = `CREATE SCHEMA IF NOT EXISTS forebay;
COMMENT ON SCHEMA forebay IS '` + mark + `';
`

// The function runs for each row that is written through a trigger; NOTIFY sends equal words of one
// transaction once.
const notifySQL = `CREATE OR REPLACE FUNCTION forebay.notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_catalog.pg_notify('` + channel + `', pg_catalog.pg_current_xact_id()::pg_catalog.text || ' ' || tg_relid::pg_catalog.text || ' ' || tg_op);
  RETURN NULL;
END $$;
`

// NotifySQL returns the SQL that installs the triggers of mode notify on tables, which are named as SQL takes
// them, and on all below these: on whatever has rows of its own, never on a partitioned table, whose triggers
// its partitions would not let go of. It fails where mode notify is refused, for the triggers alone do the
// harm. Each commit that touches one of the tables then waits for its turn to notify: with 8 writers that was
// measured to leave 0.38 of the commits per second.
func NotifySQL(ctx context.Context, cfg Config, tables []string) (string, error) {
	f := &Feed{cfg: cfg.withDefaults()}
	settings := settings(f.cfg.ApplicationName)
	delete(settings, "search_path") // people's names mean what they mean in their own sessions
	conn, err := f.connectWith(ctx, settings)
	if err != nil {
		return "", err
	}
	defer shut(conn.PgConn())
	s, err := meet(ctx, conn.PgConn())
	if err != nil {
		return "", err
	}
	if err := s.refusesTriggers(conn.PgConn()); err != nil {
		return "", err
	}
	rows, err := conn.Query(ctx, notifyTablesQuery, tables, firstUserOid)
	if err != nil {
		return "", fmt.Errorf("look for tables: %w", err)
	}
	var drops, creates strings.Builder
	var table string
	var partitioned bool
	if _, err := pgx.ForEachRow(rows, []any{&table, &partitioned}, func() error {
		if partitioned {
			fmt.Fprintf(&drops, notifyDropSQL, table, triggerRows, triggerTruncate)
		} else {
			fmt.Fprintf(&creates, notifyDropSQL+notifyCreateSQL, table, triggerRows, triggerTruncate)
		}
		return nil
	}); err != nil {
		return "", fmt.Errorf("look for tables: %w", err)
	}
	if creates.Len() == 0 {
		return "", refuse("no table that has rows of its own was named, nor is read by rules", "name one with --table")
	}
	return "BEGIN;\n" + schemaSQL + notifySQL + drops.String() + creates.String() + "COMMIT;\n", nil
}

// Partitioned tables are told where an older version left triggers, which go first. All their partitions
// lose theirs with them, so all get new ones, whichever were named.
const notifyTablesQuery = `with recursive down (oid) as (
  select unnest($1::pg_catalog.text[])::pg_catalog.regclass::pg_catalog.oid
  union select i.inhrelid from down join pg_catalog.pg_inherits i on i.inhparent = down.oid),
up (oid) as (
  select oid from down
  union select i.inhparent from up join pg_catalog.pg_inherits i on i.inhrelid = up.oid),
left_behind (oid) as (
  select c.oid from up join pg_catalog.pg_class c on c.oid = up.oid
  where c.relkind = 'p' and exists (select from pg_catalog.pg_trigger t
    where t.tgrelid = c.oid and t.tgname in ('` + triggerRows + `', '` + triggerTruncate + `') and t.tgparentid = 0)),
every (oid) as (
  select oid from down union select oid from left_behind
  union select i.inhrelid from every join pg_catalog.pg_inherits i on i.inhparent = every.oid)
select pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), c.relkind = 'p'
from every join pg_catalog.pg_class c on c.oid = every.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid >= $2::int8::pg_catalog.oid and (c.relkind = 'r' or c.oid in (select oid from left_behind))
order by 1`

const notifyDropSQL = `DROP TRIGGER IF EXISTS %[2]s ON %[1]s;
DROP TRIGGER IF EXISTS %[3]s ON %[1]s;
`

const notifyCreateSQL = `CREATE TRIGGER %[2]s AFTER INSERT OR UPDATE OR DELETE ON %[1]s FOR EACH ROW EXECUTE FUNCTION forebay.notify();
ALTER TABLE %[1]s ENABLE ALWAYS TRIGGER %[2]s;
CREATE TRIGGER %[3]s AFTER TRUNCATE ON %[1]s FOR EACH STATEMENT EXECUTE FUNCTION forebay.notify();
ALTER TABLE %[1]s ENABLE ALWAYS TRIGGER %[3]s;
`

// DDLSQL returns the SQL that installs the event triggers, which bring DDL and REFRESH into the stream within
// their own transaction. Installing them takes a superuser, or what a managed service has for one.
//
// A command on tables and views names these and all below them; what may change the meaning of any
// statement names everything. What forebay itself does to its publication is no news.
func DDLSQL() string {
	return "BEGIN;\n" + schemaSQL + ddlCommandSQL + ddlDropSQL + fmt.Sprintf(`DROP EVENT TRIGGER IF EXISTS %[1]s;
CREATE EVENT TRIGGER %[1]s ON ddl_command_end EXECUTE FUNCTION forebay.ddl_command();
ALTER EVENT TRIGGER %[1]s ENABLE ALWAYS;
DROP EVENT TRIGGER IF EXISTS %[2]s;
CREATE EVENT TRIGGER %[2]s ON sql_drop EXECUTE FUNCTION forebay.ddl_drop();
ALTER EVENT TRIGGER %[2]s ENABLE ALWAYS;
COMMIT;
`, eventCommand, eventDrop)
}

const ddlCommandSQL = `CREATE OR REPLACE FUNCTION forebay.ddl_command() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  everything bool;
  named text;
BEGIN
  WITH RECURSIVE told AS (
    SELECT c.objid, c.command_tag, coalesce(c.classid = 'pg_class'::regclass, false) AS relation
    FROM pg_event_trigger_ddl_commands() c
    WHERE coalesce(c.schema_name, '') <> 'pg_temp' AND c.command_tag <> 'COMMENT'
      AND coalesce(c.object_type, '') NOT IN ('index', 'sequence', 'publication', 'publication relation', 'publication namespace',
        'subscription', 'statistics object', 'trigger', 'event trigger')
  ), down (oid) AS (
    SELECT objid FROM told WHERE relation
    UNION SELECT i.inhrelid FROM down JOIN pg_inherits i ON i.inhparent = down.oid
  )
  SELECT (SELECT bool_or(NOT relation OR command_tag LIKE 'CREATE %' AND NOT coalesce((SELECT relispartition FROM pg_class WHERE oid = objid), false)) FROM told),
    (SELECT string_agg(oid::text, ',') FROM down)
  INTO everything, named;
  IF everything OR named IS NOT NULL THEN
    PERFORM pg_logical_emit_message(true, '` + prefixDDL + `', tg_tag || ':' || CASE WHEN everything THEN '*' ELSE named END);
  END IF;
END $$;
`

const ddlDropSQL = `CREATE OR REPLACE FUNCTION forebay.ddl_drop() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  everything bool;
  named text;
BEGIN
  SELECT bool_or(o.original AND o.classid <> 'pg_class'::regclass AND o.object_type NOT IN ('index', 'publication', 'publication relation',
      'publication namespace', 'subscription', 'statistics object', 'trigger', 'event trigger', 'table constraint', 'default value')),
    string_agg(o.objid::text, ',') FILTER (WHERE o.classid = 'pg_class'::regclass AND o.object_type NOT IN ('index', 'sequence', 'toast table'))
  FROM pg_event_trigger_dropped_objects() o WHERE NOT o.is_temporary
  INTO everything, named;
  IF everything OR named IS NOT NULL THEN
    PERFORM pg_logical_emit_message(true, '` + prefixDDL + `', tg_tag || ':' || CASE WHEN everything THEN '*' ELSE named END);
  END IF;
END $$;
`

// UninstallSQL returns the SQL that removes all that forebay may have made in a database: event triggers,
// triggers, its schema, and publications. Nothing of it holds back WAL or data. Triggers that a partition has
// of its partitioned table go with that one's, and not before.
func UninstallSQL() string {
	return fmt.Sprintf(`BEGIN;
DROP EVENT TRIGGER IF EXISTS %[1]s;
DROP EVENT TRIGGER IF EXISTS %[2]s;
DO $$
DECLARE
  r record;
BEGIN
  FOR r IN SELECT t.tgname, t.tgrelid::regclass AS tgrel FROM pg_catalog.pg_trigger t WHERE t.tgname IN ('%[3]s', '%[4]s') AND t.tgparentid = 0 LOOP
    EXECUTE pg_catalog.format('DROP TRIGGER IF EXISTS %%I ON %%s', r.tgname, r.tgrel);
  END LOOP;
  FOR r IN SELECT p.pubname FROM pg_catalog.pg_publication p WHERE pg_catalog.obj_description(p.oid, 'pg_publication') = '%[5]s' LOOP
    EXECUTE pg_catalog.format('DROP PUBLICATION %%I', r.pubname);
  END LOOP;
  IF EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = 'forebay' AND pg_catalog.obj_description(n.oid, 'pg_namespace') = '%[5]s') THEN
    DROP FUNCTION IF EXISTS forebay.notify(), forebay.ddl_command(), forebay.ddl_drop();
    DROP SCHEMA forebay;
  END IF;
END $$;
COMMIT;
`, eventCommand, eventDrop, triggerRows, triggerTruncate, mark)
}
