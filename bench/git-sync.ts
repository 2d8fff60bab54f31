import { existsSync, mkdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type { Finding } from './churn/growth.ts'
import { firstSync } from './git-sync/first-sync.ts'
import { idle } from './git-sync/idle.ts'
import { latency } from './git-sync/latency.ts'
import { Servers } from './git-sync/origins.ts'
import { type Contents, Repository } from './git-sync/repository.ts'
import { type BenchOptions, select } from './options.ts'
import { installPrograms, versionOf } from './support/install.ts'
import { pinned, temporaryDirectory } from './support/processes.ts'

const programs = [
  { name: 'git', program: 'git' },
  { name: 'strace', program: 'strace' },
  { name: 'openssh-server', program: 'sshd' },
]
/** A file system in memory, where Linux has one. */
const memory = '/dev/shm'
const parts = [{ name: 'idle' }, { name: 'latency' }, { name: 'first' }]

/** Beside git itself, as shell scripts call it, and beside what the peer asks of git. */
export async function gitSync(options: BenchOptions): Promise<string> {
  const { rounds, seconds } = options
  const chosen = select('--only', parts, options.only).map(({ name }) => name)
  await installPrograms(programs)
  const directory = temporaryDirectory()
  // A disk may take longer for a file than git does, and the longer the more files were removed before.
  const inMemory = temporaryDirectory(existsSync(memory) ? memory : directory)
  const repositories = join(directory, 'repositories')
  mkdirSync(repositories)
  const pushes = 6 * seconds
  const small: Contents = { texts: 300, blobs: 0, blobBytes: 0, commits: 200, later: 3 * pushes }
  const repository = await Repository.generate(join(repositories, 'small.git'), small)
  await using servers = await Servers.start(repositories, join(directory, 'origins'))

  const sections: string[] = []
  const faults: string[] = []
  const add = (found: Finding) => {
    sections.push(found.section)
    faults.push(...found.faults)
  }
  if (chosen.includes('idle'))
    add(await idle({ servers, name: 'small.git', directory: inMemory, rounds, seconds }))
  const remote = (name: string) => servers.remote('http', name)
  if (chosen.includes('latency'))
    sections.push(await latency({ repository, remote: remote('small.git'), directory: inMemory, pushes }))
  if (chosen.includes('first')) {
    const large = largeBy(seconds)
    await Repository.generate(join(repositories, 'large.git'), large)
    add(await firstSync({ contents: large, remote: remote('large.git'), directory, rounds }))
  }
  const versions = await Promise.all(programs.map(versionOf))
  return [
    `On ${cpus().length} cores${pinned ? ': what is measured on one, the servers of git on the other' : ''}. The servers are git http-backend behind a`,
    'server on Node, and sshd, in processes of their own on loopback. Most is asked of a repository with',
    `${small.texts} small files and ${small.commits} commits, of which one is fetched, as is git-sync's default, onto a file system in`,
    'memory; only the large one comes onto a disk.',
    `Node ${process.version}, ${versions.join(', ')}.`,
    '',
    ...sections,
    ...(faults.length === 0 ? [] : [`**Not reached**: ${faults.join('; ')}.`, '']),
  ].join('\n')
}

/** 400 MiB of what does not compress in 20,000 files, when nothing else is asked for. */
const largeBy = (seconds: number): Contents => ({
  texts: 5000 * seconds,
  blobs: 25 * seconds,
  blobBytes: 4 * 2 ** 20,
  commits: 500 * seconds,
  later: 0,
})
