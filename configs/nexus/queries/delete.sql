-- Programs, sessions and progress go with the client.
delete from clients where id = @id::uuid
returning id
