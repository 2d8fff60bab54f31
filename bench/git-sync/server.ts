import { renameSync, writeFileSync } from 'node:fs'
import { serveHttp, serveSsh } from '../../packages/git-mirror/src/git-servers-test-support.ts'
import type { Origins } from './origins.ts'

/** The servers of git as a process of their own: `<directory of repositories> <file that gets their origins>`. */
const [directory = '', file = ''] = process.argv.slice(2)
const [http, https, ssh] = await Promise.all([
  serveHttp(directory),
  serveHttp(directory, { tls: true }),
  serveSsh(directory),
])
const { keyFile, knownHostsFile, command } = ssh
const origins: Origins = {
  http: http.origin,
  https: https.origin,
  ssh: ssh.urlOf(''),
  caFile: https.caFile,
  login: { keyFile, knownHostsFile, command },
}
writeFileSync(`${file}.next`, JSON.stringify(origins))
renameSync(`${file}.next`, file)
process.once('SIGTERM', async () => {
  await Promise.all([http, https, ssh].map((server) => server[Symbol.asyncDispose]()))
  process.exit(0)
})
