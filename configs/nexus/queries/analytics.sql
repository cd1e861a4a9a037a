-- Totals come from client_counts, and so do the arrivals of whole days. Of the rows themselves only those of the three
-- days in which a period begins or ends are looked at: 365 days cost what one costs.
with settings as (
    select now() as ends, now() - make_interval(hours => 24 * @days::int) as begins,
        now() - make_interval(hours => 48 * @days::int) as began_before
), counted as (
    select status, program_type, clients
    from client_counts
    where created_on is null and (@program_type::text is null or program_type = @program_type::text)
), statuses as (
    select status, sum(clients)::bigint as clients from counted group by status having sum(clients) > 0
), program_types as (
    select program_type, sum(clients)::bigint as clients from counted group by program_type having sum(clients) > 0
), totals as (
    select coalesce(sum(clients), 0)::bigint as total, coalesce(sum(clients) filter (where status = 'active'), 0)::bigint as active
    from counted
), arrived as (
    -- How many clients there were before the moment.
    select moment, (
            select coalesce(sum(clients), 0)::bigint
            from client_counts
            where created_on < (moment at time zone 'UTC')::date
                and (@program_type::text is null or program_type = @program_type::text)
        ) + (
            select count(*)
            from clients
            where created_at >= date_trunc('day', moment, 'UTC') and created_at < moment
                and (@program_type::text is null or program_type = @program_type::text)
        ) as clients
    from settings, unnest(array[began_before, begins, ends]) as moment
), growth as (
    select a.clients - b.clients as current_period, b.clients - c.clients as previous_period
    from settings
        join arrived a on a.moment = ends
        join arrived b on b.moment = begins
        join arrived c on c.moment = began_before
)
select total as total_clients, active as active_clients, coalesce(round(100.0 * active / nullif(total, 0), 2), 0.00) as active_rate,
    (select coalesce(json_object_agg(status, clients order by clients desc, status), '{}') from statuses) as status_distribution,
    (select coalesce(json_object_agg(program_type, clients order by clients desc, program_type), '{}') from program_types)
        as program_type_distribution,
    json_build_object('start_date', begins, 'end_date', ends, 'program_type_filter', @program_type::text) as period_summary,
    json_build_object(
        'new_clients_current_period', current_period,
        'new_clients_previous_period', previous_period,
        'growth_rate_percentage', case
            when previous_period > 0 then round(100.0 * (current_period - previous_period) / previous_period, 2)
            when current_period > 0 then 100.00
            else 0.00 end,
        'trend', case when current_period > previous_period then 'up' when current_period < previous_period then 'down' else 'stable' end
    ) as growth_metrics,
    json_build_object('days', @days::int, 'start_date', begins, 'end_date', ends) as period
from settings, totals, growth
