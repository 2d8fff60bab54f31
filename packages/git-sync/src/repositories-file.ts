import { resolve } from 'node:path'
import { checkRef, checkRepo } from '@outrider/git-mirror'
import type { CredentialSource } from './credential-list.ts'
import { longestTimerMs, parseGoDuration } from './go-duration.ts'
import { parseGoInteger } from './go-integer.ts'
import { defaultLink, isNested, resolveLink } from './link-path.ts'
import { loginFaults, loginOf, splitRepo } from './repo-credentials.ts'
import { line, type Path, TableEntry } from './table-entry.ts'

/** One repository of several. What is undefined is as the flags say for all. */
export interface RepositoryEntry {
  /** Unique: it is the name of a directory and a label of metrics. */
  readonly name: string
  /** Without credentials. */
  readonly repo: string
  /** From the address, or from `username` and `password-file`. */
  readonly credential: CredentialSource | undefined
  /** Absolute. */
  readonly link: string
  readonly ref: string | undefined
  readonly depth: number | undefined
  readonly filter: string | undefined
  readonly submodules: 'recursive' | 'shallow' | 'off' | undefined
  readonly sparseCheckoutFile: string | undefined
  readonly periodMs: number | undefined
  readonly exechookCommand: string | undefined
  readonly prePublishExechookCommand: string | undefined
  readonly webhookUrl: string | undefined
  readonly touchFile: string | undefined
  readonly errorFile: string | undefined
  readonly verifySshAllowedSigners: string | undefined
  readonly verifyGpgKeys: string | undefined
}

export type Repositories =
  | { readonly ok: true; readonly repositories: readonly RepositoryEntry[] }
  /** Each begins with line and column, and shows no secret. */
  | { readonly ok: false; readonly problems: readonly string[] }

export interface RepositoriesPlace {
  /** Below which all links are, absolute. */
  readonly root: string
  /** `line 3, column 5` of what stands at a path. */
  readonly where: (path: Path) => string
}

const keys = [
  ...['name', 'repo', 'ref', 'link', 'depth', 'filter', 'submodules', 'sparse-checkout-file', 'period'],
  ...['exechook-command', 'pre-publish-exechook-command', 'webhook-url', 'username', 'password-file'],
  ...['touch-file', 'error-file', 'verify-ssh-allowed-signers', 'verify-gpg-keys'],
]

const longestName = 63

/** Reads a map with a list of `repositories`. */
export function readRepositories(document: unknown, { root, where }: RepositoriesPlace): Repositories {
  const problems: string[] = []
  const report = (path: Path, text: string) => problems.push(`${where(path)}: ${text}`)
  const top = new TableEntry(document, [], ['repositories'], report)
  const list = top.list('repositories', 'maps with a name and a repo')
  const drafts: Draft[] = []
  for (const [index, value] of list.entries()) {
    const entry = new TableEntry(value, ['repositories', index], keys, report)
    if (!entry.isMap) continue
    const draft = readEntry(entry, root)
    compare(entry, draft, drafts)
    compareErrorFiles(entry, root, draft, drafts)
    drafts.push(draft)
  }
  if (problems.length > 0) return { ok: false, problems }
  return { ok: true, repositories: drafts.flatMap(({ whole }) => whole ?? []) }
}

interface Draft {
  readonly name: string | undefined
  readonly link: string | undefined
  /** Undefined where something that it cannot do without is wrong. */
  readonly whole: RepositoryEntry | undefined
}

function readEntry(entry: TableEntry, root: string): Draft {
  const name = entry.require('name', readName)
  const address = entry.require('repo', checked(checkAddress), 'secret')
  const link = readLink(entry, root, address)
  const credential = readLogin(entry, address)
  const rest = {
    ref: entry.read('ref', checked(checkRef)),
    depth: entry.read('depth', (text) => parseGoInteger(text, 0)),
    filter: entry.read('filter', line),
    submodules: entry.read('submodules', readSubmodules),
    sparseCheckoutFile: entry.read('sparse-checkout-file', line),
    periodMs: entry.read('period', readPeriod),
    exechookCommand: entry.read('exechook-command', line),
    prePublishExechookCommand: entry.read('pre-publish-exechook-command', line),
    webhookUrl: entry.read('webhook-url', checked(checkWebhook), 'secret'),
    touchFile: entry.read('touch-file', line),
    errorFile: entry.read('error-file', line),
    verifySshAllowedSigners: entry.read('verify-ssh-allowed-signers', line),
    verifyGpgKeys: entry.read('verify-gpg-keys', line),
  }
  if (name === undefined || address === undefined || link === undefined)
    return { name, link, whole: undefined }
  return { name, link, whole: { name, repo: splitRepo(address).repo, link, credential, ...rest } }
}

const checked =
  (check: (text: string) => void) =>
  (text: string): string => {
    check(text)
    return text
  }

function readName(text: string): string {
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(text) || text.length > longestName) {
    throw new Error(`must be small letters and digits with dashes between, at most ${longestName}`)
  }
  return text
}

const checkAddress = (text: string): void => checkRepo(splitRepo(text).repo)

function checkWebhook(text: string): void {
  if (!/^https?:$/.test(URL.parse(text)?.protocol ?? '')) {
    throw new Error('must be a URL that begins with http:// or https://')
  }
}

function readSubmodules(text: string): 'recursive' | 'shallow' | 'off' {
  if (text === 'recursive' || text === 'shallow' || text === 'off') return text
  throw new Error('must be recursive, shallow or off')
}

function readPeriod(text: string): number {
  const ms = parseGoDuration(text)
  if (ms < 10) throw new Error('must be at least 10ms')
  return Math.min(ms, longestTimerMs)
}

function readLink(entry: TableEntry, root: string, address: string | undefined): string | undefined {
  if (entry.has('link')) return entry.read('link', (text) => resolveLink(root, text))
  if (address === undefined) return undefined
  try {
    return resolveLink(root, defaultLink(splitRepo(address).repo))
  } catch {
    entry.fault('repo', 'ends with nothing that a link could be called: set link')
    return undefined
  }
}

function readLogin(entry: TableEntry, repo: string | undefined): CredentialSource | undefined {
  const username = entry.read('username', line)
  const passwordFile = entry.read('password-file', line)
  // Of what is wrong by itself no more is said.
  if (repo === undefined || (entry.has('username') && username === undefined)) return undefined
  if (entry.has('password-file') && passwordFile === undefined) return undefined
  const login = { repo, username, passwordFile }
  const faults = [...loginFaults(login)]
  for (const text of faults) entry.faultOfAll(text)
  return faults.length > 0 ? undefined : loginOf(login)
}

/** Two of one name would share a directory, and of two links in each other one would destroy the other. */
function compare(entry: TableEntry, { name, link }: Draft, earlier: readonly Draft[]): void {
  if (name !== undefined && earlier.some((other) => other.name === name)) {
    entry.fault('name', `is ${name}, and so is that of an earlier one: give each its own`)
  }
  const rival = earlier.find(
    (other) => link !== undefined && other.link !== undefined && isNested(link, other.link),
  )
  if (rival === undefined) return
  const theirs = `${rival.name === undefined ? 'an earlier one' : rival.name} is ${rival.link}`
  const place = entry.has('link') ? 'link' : 'repo'
  entry.fault(place, `makes the link ${link}, and that of ${theirs}: neither may be or lie in the other`)
}

/** One that succeeds would delete what another has written. */
function compareErrorFiles(
  entry: TableEntry,
  root: string,
  { whole }: Draft,
  earlier: readonly Draft[],
): void {
  const file = whole?.errorFile
  if (file === undefined) return
  const isSame = (other: string | undefined) =>
    other !== undefined && resolve(root, other) === resolve(root, file)
  const rival = earlier.find((other) => isSame(other.whole?.errorFile))
  if (rival !== undefined) entry.fault('error-file', `is that of ${rival.name}: give each its own`)
}
