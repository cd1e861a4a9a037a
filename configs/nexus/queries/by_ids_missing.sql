-- The second condition says what the first one implies: which clients the answer depends on.
select coalesce(json_agg(asked_id order by place), '[]')
from unnest(@ids::uuid[]) with ordinality as asked (asked_id, place)
where place = array_position(@ids::uuid[], asked_id)
    and not exists (select from clients where id = asked_id and id = any(@ids::uuid[]))
