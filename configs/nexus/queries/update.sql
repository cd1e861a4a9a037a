-- What the body names is changed. A null goes to the table as one, and the table says whether it may be.
update clients
set name = case when given ? 'name' then @name else name end,
    email = case when given ? 'email' then @email else email end,
    phone = case when given ? 'phone' then @phone else phone end,
    program_type = case when given ? 'program_type' then @program_type else program_type end,
    status = case when given ? 'status' then @status else status end,
    notes = case when given ? 'notes' then @notes else notes end,
    metadata = case when given ? 'metadata' then @metadata::jsonb else metadata end
from (select @body::jsonb as given) as request
where id = @id::uuid
returning id, name, email, phone, program_type, status, created_at, updated_at, notes, metadata,
    status = 'active' as is_active, greatest(extract(day from now() - created_at), 0)::int as program_duration_days
