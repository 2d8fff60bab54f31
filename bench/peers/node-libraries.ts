import { inRoot } from '../../scripts/workspace.ts'
import type { Subject } from './subject.ts'

export const httpProxy = library('http-proxy')
export const httpxy = library('httpxy')

/** An npm package that proxies by `node:http`, with kept-alive connections to the application. */
function library(name: string): Subject {
  return {
    name,
    remark: 'L7, Node',
    npm: name,
    prepare: ({ port, upstream, tls }) => ({
      program: process.execPath,
      args: [
        inRoot('bench/support/node-proxy.ts'),
        name,
        String(port),
        String(upstream),
        ...(tls === undefined ? [] : [tls.cert, tls.key]),
      ],
    }),
  }
}
