import { inRoot } from '../../scripts/workspace.ts'
import type { ConnectingResult } from './connecting-client.ts'
import { complaint, type Load } from './load.ts'
import { Program } from './processes.ts'

/** Load by new connections with full TLS 1.3 handshakes. Its latency is from connecting to the end of the response. */
export function connecting(path: string, connections: number): Load {
  return {
    settleMs: 700,
    needsWarmUp: true,
    async run({ port }, seconds) {
      const client = inRoot('bench/support/connecting-client.ts')
      const args = [client, port, path, seconds + 1, connections].map(String)
      await using program = new Program({ program: process.execPath, args }, 'load')
      const { p50Ms, p99Ms, failed, unwanted } = JSON.parse(
        await program.result(seconds + 15),
      ) as ConnectingResult
      return {
        p50Ms,
        p99Ms,
        complaints: [...complaint(failed, 'failed'), ...complaint(unwanted, 'not full TLS 1.3 handshakes')],
      }
    },
  }
}
