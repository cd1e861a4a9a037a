-- The newest first. Planned anew each time: what is not asked for is not in the plan, and how common the part of a word
-- is decides whether to walk from the newest on or to collect and sort.
select id, name, email, phone, program_type, status, created_at, updated_at, notes, metadata,
    status = 'active' as is_active, greatest(extract(day from now() - created_at), 0)::int as program_duration_days
from clients
where (@query::text is null or search_text like search_pattern(@query::text))
    and (@status::text is null or status = @status::text)
    and (@program_type::text is null or program_type = @program_type::text)
order by created_at desc, id
limit @limit::int offset @offset::bigint
