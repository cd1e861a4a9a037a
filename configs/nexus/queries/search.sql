-- The newest first, and how many there are. Planned anew each time: what is not asked for is not in the plan, and how
-- common the part of a word is decides how it is looked for.
--
-- From three letters on an index finds all that match, in one pass that counts them and picks the page. Walking from the
-- newest on until the page is full would be quicker for common parts alone, and whoever walks does not know how far it
-- is: those who are new are on trial, mostly, so an active one may be far. Without a part of a word, or with less than
-- an index knows, there is a walk, since almost everybody matches.
with found as (
    select id, created_at, count(*) over () as total
    from clients
    where length(@query::text) >= 3 and search_text like search_pattern(@query::text)
        and (@status::text is null or status = @status::text)
        and (@program_type::text is null or program_type = @program_type::text)
), picked as materialized (
    select id, total from found order by created_at desc, id limit @limit::int offset @offset::bigint
), walked as (
    select id
    from clients
    where (@query::text is null or length(@query::text) < 3 and search_text like search_pattern(@query::text))
        and (@status::text is null or status = @status::text)
        and (@program_type::text is null or program_type = @program_type::text)
    order by created_at desc, id limit @limit::int offset @offset::bigint
), page as (
    select id, name, email, phone, program_type, status, created_at, updated_at, notes, metadata,
        status = 'active' as is_active, greatest(extract(day from now() - created_at), 0)::int as program_duration_days
    from clients join (select id from picked union all select id from walked) as chosen using (id)
    order by created_at desc, id
), counted as materialized (
    -- A page with nobody on it does not tell how many come before it. Without a part of a word client_counts knows.
    select @limit::bigint as "limit", @offset::bigint as "offset", coalesce((select total from picked limit 1), case
        when @query::text is null then (
            select coalesce(sum(clients), 0)::bigint
            from client_counts
            where created_on is null
                and (@status::text is null or status = @status::text)
                and (@program_type::text is null or program_type = @program_type::text))
        when length(@query::text) >= 3 and @offset::bigint = 0 then 0
        else (
            select count(*)
            from clients
            where search_text like search_pattern(@query::text)
                and (@status::text is null or status = @status::text)
                and (@program_type::text is null or program_type = @program_type::text))
        end) as total_count
), pagination as (
    select total_count, "limit", "offset", "offset" + "limit" < total_count as has_more,
        "offset" / "limit" + 1 as current_page, (total_count + "limit" - 1) / "limit" as total_pages
    from counted
)
select (select coalesce(json_agg(page), '[]') from page) as clients,
    (select row_to_json(pagination) from pagination) as pagination,
    json_build_object('query', @query::text, 'status', @status::text, 'program_type', @program_type::text) as filters_applied
