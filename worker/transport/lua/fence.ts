/** The script that a consumer begins a connection with. */
export const fenceScript = /* lua */ `
-- KEYS  1 claims of the consumer   ARGV  number of the connection
-- From now on calls of its earlier connections do nothing, so that what they claimed is what is listed here.
-- Gives field, value of each.
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], 'connection', ARGV[1])
redis.call('EXPIRE', KEYS[1], 86400)
return redis.call('HGETALL', KEYS[1])
`;
