-- The orders that match, newest first. A filter that was not given is NULL and lets everything pass.
select id, customer, status, total, placed_at
  from orders
 where (@status::text is null or status = @status)
   and (@query::text is null or customer ilike '%' || @query || '%')
 order by placed_at desc, id
 limit @limit::int offset @offset::int
