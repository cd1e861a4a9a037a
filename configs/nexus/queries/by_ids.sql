-- In the order asked, each once. The ids limit the table itself, so that the answer depends on these clients alone.
select id, name, email, phone, program_type, status, created_at, updated_at, notes, metadata,
    status = 'active' as is_active, greatest(extract(day from now() - created_at), 0)::int as program_duration_days
from clients
where id = any(@ids::uuid[])
order by array_position(@ids::uuid[], id)
