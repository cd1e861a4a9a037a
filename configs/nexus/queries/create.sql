insert into clients (name, email, phone, program_type, status, notes, metadata)
values (@name, @email, @phone, @program_type, coalesce(@status, 'trial'), coalesce(@notes, ''), coalesce(@metadata::jsonb, '{}'))
returning id, name, email, phone, program_type, status, created_at, updated_at, notes, metadata,
    status = 'active' as is_active, greatest(extract(day from now() - created_at), 0)::int as program_duration_days
