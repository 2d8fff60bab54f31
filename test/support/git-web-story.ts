import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { until } from './program.ts'
import { type In, run, type Story, type Way } from './story.ts'
import { inRoot } from './workspace.ts'

const folder = inRoot('examples/git-web')
const [besideSidecar, behindInit] = ['http://127.0.0.1:8080/', 'http://127.0.0.1:8082/']
const version = (number: number): string => `<h1>Version ${number}</h1>\n`

/** A push changes the page of the web server beside git-sync, and readers never miss it; behind an init container it stays. */
export const gitWeb: Story = {
  images: ['outrider/git-sync:latest', 'outrider-example/nginx:latest', 'outrider-example/git-server:latest'],
  async check(within, by) {
    for (const server of [besideSidecar, behindInit])
      await until(`the first page at ${server}`, () => shows(server, version(1)))
    await checkThatOthersAreRefused(within)

    const reader = new Reader(besideSidecar)
    await push(version(2))
    await until('the second page', () => reader.pages.at(-1) === version(2))
    await push(version(3))
    await until('the third page', () => reader.pages.at(-1) === version(3))
    await reader.stop()
    // Each one follows the one before it, and nothing else was ever seen.
    expect(reader.pages.filter((page, index) => page !== reader.pages[index - 1])).toEqual(
      [1, 2, 3].map(version),
    )
    // The period is ten minutes: the webhook has told of both.
    const metrics = await (await fetch('http://127.0.0.1:9102/metrics')).text()
    expect(metrics).toContain('_triggers_total{form="github",outcome="accepted"} 2\n')

    expect(await shows(behindInit, version(1))).toBe(true)
    await startAnew[by]()
  },
}

/** As the page of the example says it. In the pod the repository of the init container is one of its own. */
const startAnew: Readonly<Record<Way, () => Promise<void>>> = {
  async compose() {
    const up = ['up', '--detach', '--force-recreate', 'git-sync-once', 'web-once']
    await run('docker', 'compose', '--project-directory', folder, ...up)
    await until('the newest page behind the init container', () => shows(behindInit, version(3)))
  },
  async pod() {},
}

async function checkThatOthersAreRefused(within: In): Promise<void> {
  const post = 'curl --silent --output /dev/null --write-out "%{http_code}" --request POST "$WEBHOOK_URL"'
  expect(await within('git-server', 'sh', '-c', post)).toBe('401')
}

/** False where nobody listens yet, too. */
const shows = (url: string, page: string): Promise<boolean> =>
  fetch(url).then(
    async (response) => (await response.text()) === page,
    () => false,
  )

async function push(page: string): Promise<void> {
  const clone = await mkdtemp(join(tmpdir(), 'git-web-'))
  const git = (...args: string[]) => run('git', '-C', clone, ...args)
  try {
    await git('clone', '--quiet', 'http://127.0.0.1:8081/site.git', '.')
    await writeFile(join(clone, 'index.html'), page)
    const author = ['-c', 'user.name=author', '-c', 'user.email=author@example.com']
    await git(...author, 'commit', '--quiet', '--all', '--message', 'Another page')
    await git('push', '--quiet')
  } finally {
    await rm(clone, { recursive: true })
  }
}

/** Asks for a page again and again, and keeps whatever it gets. */
class Reader {
  readonly pages: string[] = []
  #isReading = true
  readonly #reading: Promise<void>

  constructor(url: string) {
    this.#reading = this.#read(url)
  }

  async stop(): Promise<void> {
    this.#isReading = false
    await this.#reading
  }

  async #read(url: string): Promise<void> {
    while (this.#isReading) {
      const page = await fetch(url).then(
        async (response) => (response.ok ? '' : `${response.status} `) + (await response.text()),
        (error: Error) => error.message,
      )
      this.pages.push(page)
    }
  }
}
