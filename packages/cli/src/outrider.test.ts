import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { Agent, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { containers } from './containers.ts'

const program = fileURLToPath(new URL('main.ts', import.meta.url))
const names = Object.keys(containers)
const running: Outrider[] = []

afterEach(async () => {
  await Promise.all(running.splice(0).map((outrider) => outrider.kill()))
})

/** The command, running. */
class Outrider {
  readonly #child: ChildProcess
  readonly ended: Promise<unknown>
  output = ''

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    this.#child = spawn(process.execPath, [program, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text))
    }
    this.ended = once(this.#child, 'close').then(([code]) => code)
    running.push(this)
  }

  async says(pattern: RegExp): Promise<string> {
    const deadline = Date.now() + 15_000
    for (;;) {
      const found = pattern.exec(this.output)
      if (found !== null) return found[1] ?? found[0]
      if (Date.now() > deadline) throw new Error(`waited in vain for ${pattern} in:\n${this.output}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
    const [, directory] = / site +(\/\S+)\/site\n/.exec(this.output) ?? []
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true, maxRetries: 3 })
  }
}

const outrider = (...args: string[]) =>
  spawnSync(process.execPath, [program, ...args], { encoding: 'utf8', timeout: 15_000 })

function get(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { rejectUnauthorized: false, agent: new Agent() }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve(body))
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}

describe('outrider', () => {
  it('without arguments says what can be done', () => {
    const { status, stdout } = outrider()
    expect(status).toBe(0)
    expect(stdout).toContain('outrider <container> --help')
  })

  it('list names every container with its pattern and what it does', () => {
    const { stdout } = outrider('list')
    expect(stdout.trimEnd().split('\n')).toHaveLength(names.length)
    for (const name of names) expect(stdout).toMatch(new RegExp(`^${name} +[a-z]+ +[A-Z].+\\.$`, 'm'))
  })

  it('refuses a container that does not exist, naming those that do', () => {
    const { status, stderr } = outrider('sidecar-http')
    expect(status).toBe(2)
    expect(stderr).toContain('sidecar-https')
  })

  it.each(names)('%s --help is the same as in its image', (name) => {
    const { status, stdout } = outrider(name, '--help')
    expect(status).toBe(0)
    expect(stdout).toMatch(new RegExp(`^${name}: `))
  })
})

it('drains when the shell is ended that npx has put before it', async () => {
  const words = [
    ...[process.execPath, program, 'sidecar-https'],
    ...['--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'],
  ]
  // What comes after it keeps the shell from giving its place to the program.
  const shell = spawn('sh', ['-c', '"$@"; exit', 'sh', ...words], {
    env: { ...process.env, npm_lifecycle_event: 'npx', LOG_FORMAT: 'json' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  shell.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    if (text.includes('"started"')) shell.kill('SIGTERM')
  })
  // The program has the other end of the pipe.
  await once(shell.stdout, 'close')
  expect(output).toContain('"drained"')
})

describe('outrider tour', () => {
  it('shows every container at work, and drains at Ctrl-C', async () => {
    const tour = new Outrider(['tour'])
    await tour.says(new RegExp(`${names.length} of ${names.length} answered`))
    expect(await get(await tour.says(/sidecar-https +(https:\S+)/))).toContain('plain HTTP only')
    const spread = await tour.says(/300 keys written and read in \d+ ms: (.*)/)
    const counts = [...spread.matchAll(/(\d+) on shard-\d/g)].map(([, count]) => Number(count))
    expect(counts).toHaveLength(3)
    expect(Math.min(...counts)).toBeGreaterThan(50)
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(300)
    const link = await tour.says(/a push was live in \d+ ms: (.*)/)
    expect(readFileSync(join(link, 'index.html'), 'utf8')).toBe('Hello from the second commit.\n')
    tour.signal('SIGINT')
    expect(await tour.ended).toBe(0)
    expect(tour.output).toContain('Drained')
    expect(existsSync(link)).toBe(false)
  })

  it('says so where git is not installed, and shows the others', async () => {
    const tour = new Outrider(['tour'], { ...process.env, PATH: '/nonexistent' })
    await tour.says(/git-sync +skipped: git is not installed here/)
    await tour.says(new RegExp(`${names.length - 1} of ${names.length - 1} answered`))
    tour.signal('SIGINT')
    expect(await tour.ended).toBe(0)
  })

  it('with --target serves the application of the user', async () => {
    const app = createServer((_, response) => response.end('mine')).listen(0, '127.0.0.1')
    await once(app, 'listening')
    const target = `http://127.0.0.1:${(app.address() as AddressInfo).port}`
    const tour = new Outrider(['tour', '--target', target, '--listen', '127.0.0.1:0'])
    expect(await get(await tour.says(/sidecar-https +(https:\S+)/))).toBe('mine')
    await tour.says(/200 in \d+ ms/)
    tour.signal('SIGTERM')
    expect(await tour.ended).toBe(0)
    app.close()
    app.closeAllConnections()
  })

  it('says when nothing answers at --target, and stays for when something does', async () => {
    const tour = new Outrider(['tour', '--target', 'http://127.0.0.1:1', '--listen', '127.0.0.1:0'])
    await tour.says(/502.*no application there/)
    await tour.says(/0 of \d+ answered/)
    tour.signal('SIGINT')
    expect(await tour.ended).toBe(0)
  })

  it('passes on what a container has against its flags', async () => {
    const tour = new Outrider(['tour', '--targte', 'http://127.0.0.1:3000'])
    expect(await tour.ended).toBe(1)
    expect(tour.output).toContain('did you mean --target?')
  })

  it('leaves no container behind when it is killed', async () => {
    const tour = new Outrider(['tour'])
    const url = await tour.says(/sidecar-https +(https:\S+)/)
    await tour.says(/answered/)
    await tour.kill()
    const gone = async (): Promise<boolean> =>
      get(url).then(
        () => false,
        () => true,
      )
    const deadline = Date.now() + 15_000
    while (!(await gone())) {
      if (Date.now() > deadline) throw new Error('the container still serves')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })
})
