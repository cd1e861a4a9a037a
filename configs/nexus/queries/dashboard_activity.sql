select id as client_id, name as client_name, 'profile_updated' as activity_type, program_type, status, updated_at as timestamp
from clients
order by updated_at desc, id
limit 15
