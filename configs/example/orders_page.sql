-- How many orders match, and where in them this page is.
select count(*) as total_count, @limit::int as "limit", @offset::int as "offset"
  from orders
 where (@status::text is null or status = @status)
   and (@query::text is null or customer ilike '%' || @query || '%')
