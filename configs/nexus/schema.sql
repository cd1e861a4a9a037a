-- The tables of the NEXUS clients API, with what reading them quickly needs. Made for Postgres 14 and newer, for an
-- empty schema: whichever comes first in search_path. Everything here is plain SQL: psql -f, or any driver.

create extension if not exists pg_trgm;
create extension if not exists btree_gin;

-- Clients ------------------------------------------------------------------------------------------------------------

create table clients (
    id           uuid        primary key default gen_random_uuid(),
    name         text        not null,
    email        text        not null,
    phone        text,
    program_type text        not null,
    status       text        not null default 'trial',
    notes        text        not null default '',
    metadata     jsonb       not null default '{}',
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),

    -- What a search looks through: one LIKE instead of an ILIKE over either column. ICU knows the lower case of every
    -- script, whatever the database's locale, and that a sigma ends a word; a part of one may end anywhere. The line
    -- feed keeps a match from reaching across: neither may hold one.
    search_text  text collate "C" not null generated always as
        (translate(lower(name collate "und-x-icu") || chr(10) || lower(email collate "und-x-icu"), 'ς', 'σ')) stored,

    constraint clients_email_key          unique (email),
    constraint clients_name_check         check (length(name) between 1 and 200 and name !~ '[[:cntrl:]]'),
    constraint clients_email_check        check (length(email) between 3 and 320 and email !~ '[[:cntrl:]]'),
    constraint clients_phone_check        check (length(phone) <= 40),
    constraint clients_program_type_check check (program_type in ('PRIME', 'LONGEVITY', 'HYBRID')),
    constraint clients_status_check       check (status in ('active', 'inactive', 'paused', 'trial', 'cancelled')),
    constraint clients_notes_check        check (length(notes) <= 10000),
    constraint clients_metadata_check     check (jsonb_typeof(metadata) = 'object')
);

-- How common a part of a word is decides between plans that are 100 times apart: the planner gets more samples to tell.
alter table clients alter column search_text set statistics 400;

-- The one on email is clients_email_key.
create index clients_status_idx              on clients (status);
create index clients_program_type_idx        on clients (program_type);
create index clients_created_at_idx          on clients (created_at);
create index clients_updated_at_idx          on clients (updated_at);
create index clients_status_program_type_idx on clients (status, program_type);
create index clients_status_created_at_idx   on clients (status, created_at);

-- Whole words, in any order: to_tsvector('simple', name || ' ' || email) @@ plainto_tsquery('simple', 'smith anna').
create index clients_words_idx on clients using gin (to_tsvector('simple', name || ' ' || email));
-- Parts of words, of those whom the filters leave: what a search has to fetch, to count it, are its matches alone. Each
-- search also reads what writers have left to be sorted in, from end to end: by default up to 4 MB, ten milliseconds.
create index clients_search_idx on clients using gin (search_text gin_trgm_ops, status, program_type)
    with (gin_pending_list_limit = 256);

-- What search_text is LIKE if the query is part of name or email. The planner puts the text in the call's place. (It is
-- immutable; called so, it would be run by itself whenever a search is planned, as a statement more.)
create function search_pattern(query text) returns text language sql stable as $$
    select '%' || replace(replace(replace(replace(translate(lower(query collate "und-x-icu"), 'ς', 'σ'),
        chr(10), chr(1)), '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;

-- Programs, sessions, progress ---------------------------------------------------------------------------------------

create table training_programs (
    id                    bigint      generated always as identity primary key,
    client_id             uuid        not null references clients on delete cascade,
    name                  text        not null,
    type                  text        not null,
    duration_weeks        int         not null check (duration_weeks between 1 and 104),
    sessions_per_week     int         not null check (sessions_per_week between 1 and 14),
    start_date            date        not null,
    end_date              date        not null,
    status                text        not null default 'draft'
        check (status in ('draft', 'active', 'paused', 'completed', 'cancelled')),
    completion_percentage numeric(5,2) not null default 0 check (completion_percentage between 0 and 100),
    notes                 text        not null default '',
    created_at            timestamptz not null default now(),
    updated_at            timestamptz not null default now(),
    check (end_date >= start_date)
);
create index training_programs_client_id_idx on training_programs (client_id);
create index training_programs_status_idx    on training_programs (status);

create table training_sessions (
    id               bigint      generated always as identity primary key,
    client_id        uuid        not null references clients on delete cascade,
    program_id       bigint      references training_programs on delete cascade,
    scheduled_at     timestamptz not null,
    completed_at     timestamptz,
    duration_minutes int         not null check (duration_minutes > 0),
    intensity        int         check (intensity between 1 and 10),
    notes            text        not null default ''
);
create index training_sessions_client_id_idx  on training_sessions (client_id, scheduled_at);
create index training_sessions_program_id_idx on training_sessions (program_id);

create table client_progress (
    id            bigint      generated always as identity primary key,
    client_id     uuid        not null references clients on delete cascade,
    program_id    bigint      references training_programs on delete cascade,
    recorded_date date        not null,
    progress_type text        not null check (progress_type in ('weight', 'body_fat', 'muscle_mass', 'measurements',
                                  'strength', 'endurance', 'flexibility', 'wellness', 'custom')),
    value         numeric,
    unit          text        not null default '',
    data          jsonb       not null default '{}',
    created_at    timestamptz not null default now()
);
create index client_progress_client_id_idx  on client_progress (client_id, recorded_date);
create index client_progress_program_id_idx on client_progress (program_id);

-- updated_at ---------------------------------------------------------------------------------------------------------

create function touch_updated_at() returns trigger language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end $$;

-- An UPDATE that changes nothing is not news. (The condition names the columns: it may not look at a generated one.)
create trigger clients_touch before update on clients for each row
    when ((old.name, old.email, old.phone, old.program_type, old.status, old.notes, old.metadata)
          is distinct from (new.name, new.email, new.phone, new.program_type, new.status, new.notes, new.metadata))
    execute function touch_updated_at();
create trigger training_programs_touch before update on training_programs for each row
    when (old.* is distinct from new.*)
    execute function touch_updated_at();

-- How many clients there are --------------------------------------------------------------------------------------------

-- Counting 200 000 rows takes tens of milliseconds, and every dashboard, every list and every analysis wants the figure.
-- So each statement that changes clients leaves here by how much, by program and status and by day of arrival: a null
-- means "all of them". The sum is the count, exactly, in every snapshot: a row becomes visible with the change it counts.
-- Nobody waits for anybody, since nobody updates a row: writers only add.
create table client_counts (
    id           bigint generated always as identity primary key,
    created_on   date,          -- UTC; null: any day
    program_type text not null,
    status       text,          -- null: any status
    clients      bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
create index client_counts_created_on_idx on client_counts (created_on, program_type);

create function count_clients() returns trigger language plpgsql security definer set search_path from current as $$
declare
    crowded bool;
begin
    if tg_op = 'INSERT' then
        with counted as (
            insert into client_counts (created_on, program_type, status, clients)
            select (created_at at time zone 'UTC')::date as day, program_type, status, count(*)
            from added group by grouping sets ((program_type, status), (day, program_type))
            returning id)
        select bool_or(id % 64 = 0) into crowded from counted;
    elsif tg_op = 'DELETE' then
        with counted as (
            insert into client_counts (created_on, program_type, status, clients)
            select (created_at at time zone 'UTC')::date as day, program_type, status, -count(*)
            from removed group by grouping sets ((program_type, status), (day, program_type))
            returning id)
        select bool_or(id % 64 = 0) into crowded from counted;
    elsif tg_op = 'UPDATE' then
        with counted as (
            insert into client_counts (created_on, program_type, status, clients)
            select (created_at at time zone 'UTC')::date as day, program_type, status, sum(n)
            from (select created_at, program_type, status, 1 as n from added
                  union all select created_at, program_type, status, -1 from removed) as moved
            group by grouping sets ((program_type, status), (day, program_type)) having sum(n) <> 0
            returning id)
        select bool_or(id % 64 = 0) into crowded from counted;
    else
        truncate client_counts;
    end if;
    -- Now and then, rows that count the same are made one. What another transaction is busy with is left to the next
    -- time. In the stricter isolation levels a row that somebody merged meanwhile would be an error for this writer.
    if crowded and current_setting('transaction_isolation') = 'read committed' then
        with kept as (
            select created_on, program_type, status from client_counts group by 1, 2, 3 having count(*) > 1
        ), merged as (
            delete from client_counts where id in (
                select id from client_counts c join kept k on c.program_type = k.program_type
                    and c.created_on is not distinct from k.created_on and c.status is not distinct from k.status
                for update of c skip locked)
            returning created_on, program_type, status, clients)
        insert into client_counts (created_on, program_type, status, clients)
        select created_on, program_type, status, sum(clients) from merged group by 1, 2, 3 having sum(clients) <> 0;
    end if;
    return null;
end $$;

create trigger clients_count_inserted after insert on clients
    referencing new table as added for each statement execute function count_clients();
create trigger clients_count_deleted after delete on clients
    referencing old table as removed for each statement execute function count_clients();
create trigger clients_count_updated after update on clients
    referencing old table as removed new table as added for each statement execute function count_clients();
create trigger clients_count_truncated after truncate on clients
    for each statement execute function count_clients();

-- Counts anew, for after rows came in with triggers disabled (session_replication_role = replica).
create procedure recount_clients() language plpgsql set search_path from current as $$
begin
    lock table clients in share row exclusive mode;
    truncate client_counts;
    insert into client_counts (created_on, program_type, status, clients)
    select (created_at at time zone 'UTC')::date as day, program_type, status, count(*)
    from clients group by grouping sets ((program_type, status), (day, program_type));
end $$;

-- The dashboard's figures ---------------------------------------------------------------------------------------------

create function get_client_dashboard_metrics()
    returns table (total_clients bigint, active_clients bigint, prime_clients bigint, longevity_clients bigint,
                   active_rate numeric, generated_at timestamptz)
    language sql stable as $$
    select total, active, prime, longevity, coalesce(round(100.0 * active / nullif(total, 0), 2), 0.00), now()
    from (
        select coalesce(sum(clients), 0)::bigint as total,
            coalesce(sum(clients) filter (where status = 'active'), 0)::bigint as active,
            coalesce(sum(clients) filter (where program_type = 'PRIME'), 0)::bigint as prime,
            coalesce(sum(clients) filter (where program_type = 'LONGEVITY'), 0)::bigint as longevity
        from client_counts where created_on is null
    ) as counted
$$;
