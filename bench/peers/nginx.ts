import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from '../support/processes.ts'
import type { Setting, Subject } from './subject.ts'

export const nginx: Subject = {
  name: 'nginx',
  remark: 'L7, C',
  debian: { name: 'nginx-light', program: 'nginx' },
  prepare: (setting) => nginxCommand(setting.directory, proxyOf(setting), setting.connections),
}

// Forwards the same facts as the sidecar, streams bodies as it does, and spills nothing to disk. Idle upstream connections
// are kept for as many requests as there are at a time, since to open new ones would be a mistake of the configuration.
function proxyOf({ port, upstream, tls, concurrency, connections }: Setting): string {
  const secure =
    tls === undefined
      ? ''
      : `ssl_certificate ${tls.cert}; ssl_certificate_key ${tls.key}; ssl_protocols TLSv1.2 TLSv1.3;`
  return `
    upstream application {
      server 127.0.0.1:${upstream};
      keepalive ${Math.max(64, concurrency)};
      keepalive_requests 1000000000;
    }
    server {
      listen 127.0.0.1:${port} backlog=4096 ${tls === undefined ? '' : 'ssl http2'};
      ${secure}
      ${connections === undefined ? '' : 'client_header_timeout 1h; keepalive_timeout 1h;'}
      client_max_body_size 0;
      location / {
        proxy_pass http://application;
        proxy_http_version 1.1;
        proxy_request_buffering off;
        proxy_max_temp_file_size 0;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Port $server_port;
      }
    }`
}

/** nginx in the foreground with one worker, and `http` as its configuration; `connections` of clients fit. */
export function nginxCommand(directory: string, http: string, connections = 0): Command {
  const file = join(directory, 'nginx.conf')
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const configuration = `
  daemon off;
  worker_processes 1;
  worker_rlimit_nofile ${Math.max(16_384, connections + 2_048)};
  pid ${directory}/nginx.pid;
  error_log stderr crit;
  ${process.getuid?.() === 0 ? 'user root;' : ''}
  events { worker_connections ${Math.max(8_192, connections + 1_024)}; }
  http {
    access_log off;
    keepalive_requests 1000000000;
    ${paths.map((path) => `${path}_temp_path ${directory}/${path};`).join('\n    ')}
    ${http}
  }
  `
  writeFileSync(file, configuration)
  return { program: 'nginx', args: ['-p', directory, '-c', file] }
}
