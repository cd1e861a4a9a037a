-- In the order of an index, so that rows leave while Postgres still reads, and none are sorted.
select id, name, email, phone, program_type, status, created_at, updated_at, notes, metadata,
    status = 'active' as is_active, greatest(extract(day from now() - created_at), 0)::int as program_duration_days
from clients
where (@status::text is null or status = @status::text)
    and (@program_type::text is null or program_type = @program_type::text)
order by created_at, id
