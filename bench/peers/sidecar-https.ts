import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundle } from '../../docker/bundle.ts'
import { inRoot } from '../../scripts/workspace.ts'
import { temporaryDirectory } from '../support/processes.ts'
import type { Subject } from './subject.ts'

const sources = inRoot('packages/sidecar-https/src/main.ts')
let bundled: Promise<string> | undefined

/** The program of the image. Under a profiler its sources, so that the profile names their lines. */
export const sidecarHttps: Subject = {
  name: 'sidecar-https',
  remark: 'L7, Node',
  async prepare({ port, upstream, tls, nodeArgs }) {
    if (tls === undefined) throw new Error('sidecar-https takes TLS off')
    bundled ??= program()
    const main = nodeArgs.length > 0 ? sources : await bundled
    return {
      program: process.execPath,
      args: ['--max-semi-space-size=2', ...nodeArgs, main],
      env: {
        SIDECAR_HTTPS_LISTEN: `127.0.0.1:${port}`,
        SIDECAR_HTTPS_TARGET: `http://127.0.0.1:${upstream}`,
        SIDECAR_HTTPS_CERT: tls.cert,
        SIDECAR_HTTPS_KEY: tls.key,
        SIDECAR_HTTPS_ADMIN: '127.0.0.1:0',
        SIDECAR_HTTPS_DRAIN: '1s',
        SIDECAR_HTTPS_LOG_LEVEL: 'warn',
      },
    }
  },
}

async function program(): Promise<string> {
  const directory = temporaryDirectory()
  try {
    await bundle(sources, directory)
  } catch (error) {
    console.log(`the sources of sidecar-https run, since they do not bundle: ${error}`)
    return sources
  }
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
  const file = join(directory, 'main.js')
  if (!existsSync(file)) throw new Error(`the bundle of sidecar-https is not at ${file}`)
  return file
}
