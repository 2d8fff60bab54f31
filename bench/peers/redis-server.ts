import type { Command } from '../support/processes.ts'
import type { ShardSubject } from './shard-subject.ts'

export const redisPackage = { name: 'redis-server', program: 'redis-server' }

/** One server in the place of the four: the proxy is taken away, and nothing else changes. */
export const direct: ShardSubject = {
  name: 'direct',
  remark: 'one redis-server, no proxy',
  debian: redisPackage,
  isDirect: true,
  prepare: ({ directory, port }) => redisCommand(directory, port),
}

/** A server that keeps everything in memory alone. */
export function redisCommand(directory: string, port: number): Command {
  const settings = {
    bind: '127.0.0.1',
    port: String(port),
    dir: directory,
    save: '',
    appendonly: 'no',
    'tcp-backlog': '4096',
    loglevel: 'warning',
  }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
  return { program: 'redis-server', args }
}
