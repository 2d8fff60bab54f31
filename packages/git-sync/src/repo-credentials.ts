import type { Credential } from '@outrider/git-mirror'
import type { CredentialSource } from './credential-list.ts'
import { isOneLine } from './one-line.ts'

/** `user:password@` moved out of an address of HTTP. */
export interface SplitRepo {
  readonly repo: string
  readonly credential?: Credential
}

/**
 * Moves the credentials out of an HTTP(S) address, so that no argument, log line or file of git has them. A user alone
 * has an empty password: it may be a token. Other addresses stay as they are: the user of SSH is no secret.
 * @throws Error that begins with "must be" and shows nothing of the address
 */
export function splitRepo(repo: string): SplitRepo {
  const scheme = /^https?:\/\//i.exec(repo)?.[0]
  if (scheme === undefined) return { repo }
  // With a bare / ? # in a password the address would end in its midst, and the rest be taken for a path.
  if (URL.parse(repo) === null || /#.*@/s.test(repo)) {
    throw new Error('must be a URL: in a user or password write / ? # @ : as %2F %3F %23 %40 %3A')
  }
  const [authority = ''] = /^[^/?#\\]*/.exec(repo.slice(scheme.length)) ?? []
  const end = authority.lastIndexOf('@')
  if (end < 0) return { repo }
  const bare = scheme + repo.slice(scheme.length + end + 1)
  const pair = authority.slice(0, end)
  const [user = ''] = pair.split(':', 1)
  const username = decoded(user)
  const password = decoded(pair.slice(user.length + 1))
  if (username === '' && password === '') return { repo: bare }
  return { repo: bare, credential: { url: hostOf(bare) ?? bare, username, password } }
}

function decoded(text: string): string {
  let plain: string
  try {
    plain = decodeURIComponent(text)
  } catch {
    throw new Error(
      'must be a URL whose user and password have % only before two hexadecimal digits of UTF-8',
    )
  }
  if (!isOneLine(plain)) throw new Error('must be a URL whose user and password have no line breaks')
  return plain
}

/**
 * What a credential for this repository is for: the whole host with its port, as git has it by default, so that
 * submodules beside it have it too. Undefined where the address is not of HTTP.
 */
export function hostOf(repo: string): string | undefined {
  const [, scheme = '', host] = /^(https?):\/\/(?:[^/?#\\]*@)?([^/?#\\]+)/i.exec(repo) ?? []
  return host === undefined ? undefined : `${scheme.toLowerCase()}://${host.toLowerCase()}`
}

/** What was said about who comes to the repository. */
export interface RepoLogin {
  readonly repo: string
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly passwordFile?: string | undefined
}

/** What contradicts itself, a text each, without a secret. */
export function* loginFaults({ repo, username, password, passwordFile }: RepoLogin): Generator<string> {
  let split: SplitRepo | undefined
  try {
    split = splitRepo(repo)
  } catch {
    // Whoever reads the address says so.
  }
  if (password !== undefined && passwordFile !== undefined) {
    yield 'a password and a password file are both given: leave one of them out'
  }
  const hasPassword = password !== undefined || passwordFile !== undefined
  if (username !== undefined && !hasPassword) {
    yield 'a username is given without a password: give a password or a password file'
  }
  if (username === undefined && hasPassword) yield 'a password is given without a username: give one'
  if (split?.credential !== undefined && (username !== undefined || hasPassword)) {
    yield 'the repository has credentials in its URL and others beside it: leave one of them out'
  }
  if (split !== undefined && (username !== undefined || hasPassword) && hostOf(split.repo) === undefined) {
    yield 'a username and password serve HTTP alone: the repository must begin with https:// or http://'
  }
}

/** The credential of a repository, from its address or from beside it; undefined where there is none. */
export function loginOf({ repo, username, password, passwordFile }: RepoLogin): CredentialSource | undefined {
  const split = splitRepo(repo)
  if (split.credential !== undefined) {
    return { ...split.credential, password: { text: split.credential.password } }
  }
  const url = hostOf(split.repo)
  if (url === undefined || username === undefined) return undefined
  if (passwordFile !== undefined) return { url, username, password: { file: passwordFile } }
  return password === undefined ? undefined : { url, username, password: { text: password } }
}
