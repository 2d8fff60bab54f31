import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:https'
import { promisify } from 'node:util'
import { afterEach, describe, expect } from 'vitest'
import { type Document, parseAllDocuments } from 'yaml'
import { line } from '../support/contract.ts'
import { until } from '../support/program.ts'
import { containerPackages, inRoot } from '../support/workspace.ts'

const execute = promisify(execFile)
const run = async (command: string, ...args: string[]): Promise<string> =>
  (await execute(command, args)).stdout

/** What a client of each story sees; the very files of `examples/` are run. */
const stories: Readonly<Record<string, { images: string[]; check: () => Promise<void> }>> = {
  'legacy-https': {
    images: ['node:24-bookworm-slim', 'outrider/sidecar-https:latest'],
    check: async () => {
      const body = await until('the application over HTTPS', () =>
        get('https://127.0.0.1:8443/story').catch(() => false),
      )
      expect(body).toMatch(/^Hello from \/story, asked over https by /)
    },
  },
}

line(20, 'every example has a story here, and every container an example', async () => {
  expect(readdirSync(inRoot('examples')).sort()).toEqual(Object.keys(stories).sort())
  const used = Object.values(stories).flatMap(({ images }) => images)
  for (const { container } of await containerPackages())
    expect(used).toContain(`outrider/${container.name}:latest`)
})

line(20, 'the application of legacy-https is the same by compose and as a pod', () => {
  const [configMap] = parseAllDocuments(readFileSync(inRoot('examples/legacy-https/pod.yaml'), 'utf8'))
  const { data } = (configMap as Document).toJS() as { data: Record<string, string> }
  expect(data['app.js']).toBe(readFileSync(inRoot('examples/legacy-https/app.js'), 'utf8'))
})

for (const [name, { images, check }] of Object.entries(stories)) {
  const folder = inRoot('examples', name)

  describe(`example ${name}`, () => {
    afterEach(async () => {
      await run('docker', 'compose', '--project-directory', folder, 'down', '--volumes', '--timeout', '20')
      await run('podman', 'kube', 'down', `${folder}/pod.yaml`).catch(() => '')
    })

    line(20, 'it runs by docker compose up', async () => {
      await run('docker', 'compose', '--project-directory', folder, 'up', '--detach')
      await check()
    })

    line(20, 'its pod.yaml runs as a real pod', async () => {
      for (const image of images) await copyToPodman(image)
      await run('podman', 'kube', 'play', `${folder}/pod.yaml`)
      await check()
    })
  })
}

/** Podman keeps its own images. */
const copyToPodman = (image: string): Promise<string> =>
  run('bash', '-c', 'set -o pipefail; docker save "$1" | podman load --quiet', 'copy', image)

function get(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { rejectUnauthorized: false, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve(body))
      response.on('error', reject)
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}
