import { inRoot } from '../../scripts/workspace.ts'
import type { Subject } from './subject.ts'

/** The module, without a container around it. */
export const httpForward: Subject = {
  name: 'http-forward',
  remark: 'L7, Node',
  prepare: ({ port, upstream, nodeArgs }) => ({
    program: process.execPath,
    args: [...nodeArgs, inRoot('bench/support/plain-proxy.ts'), String(port), String(upstream)],
  }),
}
