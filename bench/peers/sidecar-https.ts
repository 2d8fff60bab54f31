import { containerCommand } from '../support/bundled.ts'
import type { Subject } from './subject.ts'

export const sidecarHttps: Subject = {
  name: 'sidecar-https',
  remark: 'L7, Node',
  prepare({ port, upstream, tls, nodeArgs }) {
    if (tls === undefined) throw new Error('sidecar-https takes TLS off')
    return containerCommand('sidecar-https', nodeArgs, {
      SIDECAR_HTTPS_LISTEN: `127.0.0.1:${port}`,
      SIDECAR_HTTPS_TARGET: `http://127.0.0.1:${upstream}`,
      SIDECAR_HTTPS_CERT: tls.cert,
      SIDECAR_HTTPS_KEY: tls.key,
      SIDECAR_HTTPS_ADMIN: '127.0.0.1:0',
      SIDECAR_HTTPS_DRAIN: '1s',
      SIDECAR_HTTPS_LOG_LEVEL: 'warn',
    })
  },
}
