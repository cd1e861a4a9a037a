-- In the order asked.
select id, name, email, phone, program_type, status, created_at, updated_at, notes, metadata,
    status = 'active' as is_active, greatest(extract(day from now() - created_at), 0)::int as program_duration_days
from unnest(@ids::uuid[]) with ordinality as asked (asked_id, place)
    join clients on id = asked_id
where place = array_position(@ids::uuid[], asked_id)
order by place
