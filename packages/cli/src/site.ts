import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** A repository with one page. */
export interface Site extends AsyncDisposable {
  readonly repository: string
  /** Where it is published, a directory that is not there yet. */
  readonly root: string
  readonly link: string
  /** Whoever knows it may ask for a sync. */
  readonly token: string
  /** Commits the page with this text; resolves with the hash. */
  change(text: string): Promise<string>
}

/** Makes one in a directory of its own; undefined where git is not installed. */
export async function startSite(): Promise<Site | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'outrider-tour-'))
  const remove = () => rm(directory, { recursive: true, force: true, maxRetries: 3 })
  const site = new TourSite(directory, remove)
  try {
    await site.begin()
    return site
  } catch (error) {
    await remove()
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

class TourSite implements Site {
  readonly repository: string
  readonly root: string
  readonly link: string
  readonly token = randomBytes(16).toString('hex')
  readonly #remove: () => Promise<void>

  constructor(directory: string, remove: () => Promise<void>) {
    this.repository = join(directory, 'site')
    this.root = join(directory, 'published')
    this.link = join(this.root, 'site')
    this.#remove = remove
  }

  async begin(): Promise<void> {
    await execute('git', ['init', '--quiet', '--template=', this.repository])
    await this.change('Hello from the first commit.\n')
  }

  async change(text: string): Promise<string> {
    await writeFile(join(this.repository, 'index.html'), text)
    await this.#git('add', '--all')
    await this.#git('commit', '--quiet', '--message', 'A change')
    return (await this.#git('rev-parse', 'HEAD')).trim()
  }

  /** Whatever this machine has configured for the commits of its users. */
  async #git(...args: readonly string[]): Promise<string> {
    const own = ['user.name=Outrider', 'user.email=tour@outrider.invalid', 'commit.gpgSign=false']
    const settings = [...own, 'core.hooksPath=/dev/null'].flatMap((setting) => ['-c', setting])
    const place = [`--git-dir=${join(this.repository, '.git')}`, `--work-tree=${this.repository}`]
    return (await execute('git', [...place, ...settings, ...args])).stdout
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#remove()
  }
}
