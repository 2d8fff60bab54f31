import { containerCommand } from '../support/bundled.ts'
import { type ShardSubject, serverLine } from './shard-subject.ts'

export const ambassadorShard: ShardSubject = {
  name: 'ambassador-shard',
  remark: 'Node',
  prepare: ({ port, servers, nodeArgs }) =>
    containerCommand('ambassador-shard', nodeArgs, {
      AMBASSADOR_SHARD_LISTEN: `127.0.0.1:${port}`,
      AMBASSADOR_SHARD_SERVERS: servers.map(serverLine).join(','),
      AMBASSADOR_SHARD_ADMIN: '127.0.0.1:0',
      AMBASSADOR_SHARD_LOG_LEVEL: 'warn',
    }),
}
