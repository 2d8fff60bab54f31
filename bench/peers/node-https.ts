import { inRoot } from '../../scripts/workspace.ts'
import type { Subject } from './subject.ts'

/** No proxy: what Node itself costs where connections are held and nothing is forwarded. */
export const nodeHttps: Subject = {
  name: 'node:https',
  remark: 'bare server, Node',
  prepare({ port, tls }) {
    if (tls === undefined) throw new Error('node:https speaks TLS')
    const script = inRoot('bench/support/node-https.ts')
    return {
      program: process.execPath,
      args: ['--max-semi-space-size=2', script, String(port), tls.cert, tls.key],
    }
  },
}
