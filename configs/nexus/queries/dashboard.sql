select
    (select row_to_json(figures) from get_client_dashboard_metrics() as figures) as metrics,
    (select coalesce(json_agg(newest), '[]') from (
        select id as client_id, name as client_name, 'profile_updated' as activity_type, program_type, status, updated_at as timestamp
        from clients
        order by updated_at desc, id
        limit 15
    ) as newest) as recent_activity,
    now() as last_updated
