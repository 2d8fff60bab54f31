import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from '../support/processes.ts'
import { nginxCommand } from './nginx.ts'

/** What the proxies stand in front of: nginx, so that it is never what holds them back. */
export const paths = { small: '/', large: '/large', upload: '/upload', status: '/status' } as const

/** Bytes of a large body, both ways. */
export const largeBytes = 2 ** 20

const small = 'A response of thirty-four octets.\n'

/** Serves 34 bytes and 1 MiB, takes uploads of 1 MiB whole before its 204, and counts requests. */
export function application(directory: string, port: number): Command {
  writeFileSync(join(directory, 'large'), Buffer.alloc(largeBytes, 'large '))
  const server = `
    sendfile on;
    tcp_nopush on;
    open_file_cache max=10;
    server {
      listen 127.0.0.1:${port} backlog=4096;
      location = ${paths.small} { default_type text/plain; return 200 "${small.replace('\n', '\\n')}"; }
      location = ${paths.large} { root ${directory}; }
      location = ${paths.status} { stub_status; }
      # A bare return would answer before the body has come: a second server answers, once the body is in memory.
      location = ${paths.upload} {
        client_max_body_size ${largeBytes};
        client_body_buffer_size ${largeBytes};
        proxy_pass http://unix:${directory}/taken.sock;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
      }
    }
    server { listen unix:${directory}/taken.sock; return 204; }`
  return nginxCommand(directory, server)
}

/** How many requests it has served so far. An upload counts twice, once at each of its servers. */
export async function requestsServed(port: number): Promise<number> {
  const status = await (await fetch(`http://127.0.0.1:${port}${paths.status}`)).text()
  // "server accepts handled requests", then the three numbers.
  return Number(/^ \d+ \d+ (\d+)/m.exec(status)?.[1])
}
