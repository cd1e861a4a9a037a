-- @comment
select *
  from clients
 where id = @client_id
   and name = '@name' and "@name" @> @nmae
