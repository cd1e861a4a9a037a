-- Without a part of a word the total is known (client_counts), with one the matches are counted. Which of the two is
-- settled before planning, so the other costs nothing.
select total_count, "limit", "offset", "offset" + "limit" < total_count as has_more,
    "offset" / "limit" + 1 as current_page, (total_count + "limit" - 1) / "limit" as total_pages
from (
    select @limit::bigint as "limit", @offset::bigint as "offset",
        case when @query::text is null then (
            select coalesce(sum(clients), 0)::bigint
            from client_counts
            where created_on is null
                and (@status::text is null or status = @status::text)
                and (@program_type::text is null or program_type = @program_type::text)
        ) else (
            select count(*)
            from clients
            where search_text like search_pattern(@query::text)
                and (@status::text is null or status = @status::text)
                and (@program_type::text is null or program_type = @program_type::text)
        ) end as total_count
) as found
