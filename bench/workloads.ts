import { largeBytes, paths } from './peers/application.ts'
import { haproxy } from './peers/haproxy.ts'
import { hitch } from './peers/hitch.ts'
import { httpForward } from './peers/http-forward.ts'
import { nginx } from './peers/nginx.ts'
import { httpProxy, httpxy } from './peers/node-libraries.ts'
import { sidecarHttps } from './peers/sidecar-https.ts'
import type { Subject } from './peers/subject.ts'
import { connecting } from './support/connecting.ts'
import { h2load } from './support/h2load.ts'
import type { Job } from './support/measure.ts'
import { resumes, speaksH2 } from './support/probes.ts'
import { wrk } from './support/wrk.ts'

/** A row of measurements: one load, and the proxies that take it in turns. */
export interface Workload extends Omit<Job, 'seconds' | 'warmUpSeconds' | 'application'> {
  /** For `--only`. */
  readonly name: string
  readonly title: string
  /** How to read the table. */
  readonly remark: string
  /** Requests open at a time. */
  readonly concurrency: number
  readonly subjects: readonly Subject[]
}

const terminators = [sidecarHttps, nginx, hitch, haproxy, httpProxy, httpxy]
const usual = { tls: true, concurrency: 32, subjects: terminators, countedPerRequest: 1, refusal: undefined }

/** All workloads of `npm run bench -- https`, in the order of the page. */
export const workloads: readonly Workload[] = [
  {
    ...usual,
    name: 'small',
    title: 'Small responses over TLS',
    remark: '34-byte bodies on 32 kept-alive connections, by wrk.',
    load: wrk({ path: paths.small, connections: 32 }),
  },
  {
    ...usual,
    name: 'large',
    title: 'Large responses over TLS',
    remark: '1 MiB bodies on 32 kept-alive connections, by wrk.',
    load: wrk({ path: paths.large, connections: 32 }),
  },
  {
    ...usual,
    name: 'upload',
    title: 'Uploads over TLS',
    remark:
      '1 MiB request bodies on 32 kept-alive connections, by wrk; nginx streams them (`proxy_request_buffering off`).',
    load: wrk({ path: paths.upload, connections: 32, uploadBytes: largeBytes }),
    countedPerRequest: 2,
  },
  {
    ...usual,
    name: 'handshake',
    title: 'Full handshakes',
    remark: [
      'A new connection with a full TLS 1.3 handshake for each small response, 16 at a time, by a client on Node, which is',
      'slower than most of the proxies: CPU is the figure to look at. Latency is from connecting to the end of the response.',
    ].join('\n'),
    concurrency: 16,
    load: connecting(paths.small, 16),
  },
  {
    ...usual,
    name: 'resume',
    title: 'Resumed handshakes',
    remark: [
      'A new connection with a resumed TLS 1.3 handshake for each small response, 32 at a time, by wrk, which resumes the',
      'session that it had before. Latency leaves the handshake out.',
    ].join('\n'),
    load: wrk({ path: paths.small, connections: 32, reconnect: true }),
    refusal: async (port) => ((await resumes(port)) ? undefined : 'does not resume'),
  },
  {
    ...usual,
    name: 'many',
    title: '1 000 connections over TLS',
    remark: 'Small responses on 1 000 kept-alive connections, by h2load over HTTP/1.1.',
    concurrency: 1_000,
    load: h2load({ path: paths.small, connections: 1_000 }),
  },
  {
    ...usual,
    name: 'plain',
    title: 'Small responses, plain HTTP',
    remark:
      '34-byte bodies on 32 kept-alive connections, by wrk; `http-forward` is the module with no container around it.',
    tls: false,
    subjects: [httpForward, nginx, haproxy, httpProxy, httpxy],
    load: wrk({ path: paths.small, connections: 32 }),
  },
  {
    ...usual,
    name: 'h2',
    title: 'Small responses, HTTP/2 over TLS',
    remark:
      '34-byte bodies on 32 connections with 10 streams each, by h2load; to the application it is HTTP/1.1.',
    concurrency: 320,
    subjects: [sidecarHttps, nginx, haproxy],
    load: h2load({ path: paths.small, connections: 32, streams: 10 }),
    refusal: async (port) => ((await speaksH2(port)) ? undefined : 'no h2'),
  },
]
