import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../support/probes.ts'
import { type ShardSubject, serverLine } from './shard-subject.ts'

export const twemproxy: ShardSubject = {
  name: 'twemproxy',
  remark: 'C',
  debian: { name: 'nutcracker', program: 'nutcracker' },
  async prepare({ directory, port, servers }) {
    const file = join(directory, 'nutcracker.yml')
    const configuration = `
shards:
  listen: 127.0.0.1:${port}
  redis: true
  hash: fnv1a_64
  distribution: ketama
  backlog: 4096
  preconnect: true
  servers:
${servers.map((server) => `   - ${serverLine(server)}`).join('\n')}
`
    writeFileSync(file, configuration)
    const statistics = ['--stats-addr=127.0.0.1', `--stats-port=${await freePort()}`]
    return { program: 'nutcracker', args: [`--conf-file=${file}`, ...statistics, '--verbose=1'] }
  },
}
