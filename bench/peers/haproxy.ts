import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Subject } from './subject.ts'

export const haproxy: Subject = {
  name: 'haproxy',
  remark: 'L7, C',
  debian: { name: 'haproxy', program: 'haproxy' },
  prepare({ directory, port, upstream, tls }) {
    const file = join(directory, 'haproxy.cfg')
    const secure = tls === undefined ? '' : `ssl crt ${tls.pair} alpn h2,http/1.1 ssl-min-ver TLSv1.2`
    const configuration = `
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend clients
  bind 127.0.0.1:${port} backlog 4096 ${secure}
  default_backend application
backend application
  http-reuse always
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto ${tls === undefined ? 'http' : 'https'}
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  server application 127.0.0.1:${upstream}
`
    writeFileSync(file, configuration)
    return { program: 'haproxy', args: ['-db', '-q', '-f', file] }
  },
}
