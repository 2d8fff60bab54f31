import type { Credential } from '@outrider/git-mirror'
import { isOneLine } from './one-line.ts'
import { readSecretFile } from './secret-file.ts'

/** A credential, whose password may be in a file that changes. */
export interface CredentialSource {
  readonly url: string
  readonly username: string
  readonly password: { readonly text: string } | { readonly file: string }
}

const keys = ['url', 'username', 'password', 'password-file']

/** What several `--credential` say, as one says it. */
export function joinCredentials(texts: readonly string[]): string {
  const [first = ''] = texts
  if (texts.length <= 1) return first
  const lists = texts.map((text) => parsed(text))
  // What is no JSON is none when it is joined either, so the reader says what is wrong.
  return lists.some((list) => list === undefined) ? texts.join('\n') : JSON.stringify(lists.flat())
}

/**
 * Reads a JSON object, or a list of them, with `url`, `username`, and `password` or `password-file`.
 * @throws Error that begins with "must be" and says all that is wrong, by number and key, never a value
 */
export function parseCredentials(text: string): readonly CredentialSource[] {
  if (text.trim() === '') return []
  const list = parsed(text)
  if (list === undefined) throw new Error(`must be JSON, an object or a list of them${positionOf(text)}`)
  const faults: string[] = []
  const sources = list.flatMap((entry, index) => readEntry(entry, `credential ${index + 1}`, faults))
  if (faults.length > 0) {
    throw new Error(`must be objects with url, username, and password or password-file: ${faults.join('; ')}`)
  }
  return sources
}

function readEntry(entry: unknown, name: string, faults: string[]): CredentialSource[] {
  if (!isObject(entry)) {
    faults.push(`${name} is no object`)
    return []
  }
  const begun = faults.length
  const known: Record<string, string> = {}
  for (const [key, value] of Object.entries(entry)) {
    if (!keys.includes(key)) faults.push(`${name} has the unknown key ${JSON.stringify(key.slice(0, 40))}`)
    else if (typeof value !== 'string')
      faults.push(`${name} has a ${key} that is no text: put it into quotes`)
    else if (!isOneLine(value)) faults.push(`${name} has a ${key} of more than one line`)
    else if (value !== '') known[key] = value
  }
  const { url, username, password, 'password-file': file } = known
  const isWrong = (key: string) => Object.hasOwn(entry, key) && entry[key] !== '' && known[key] === undefined
  if (url === undefined && !isWrong('url')) faults.push(`${name} has no url`)
  const urlFault = url === undefined ? undefined : faultOfUrl(url)
  if (urlFault !== undefined) faults.push(`${name} has a url that ${urlFault}`)
  if (username === undefined && !isWrong('username')) faults.push(`${name} has no username`)
  if (password !== undefined && file !== undefined) {
    faults.push(`${name} has both a password and a password-file: leave one of them out`)
  }
  if (password === undefined && file === undefined && !isWrong('password') && !isWrong('password-file')) {
    faults.push(`${name} has neither a password nor a password-file`)
  }
  if (faults.length > begun || url === undefined || username === undefined) return []
  if (file !== undefined) return [{ url, username, password: { file } }]
  return password === undefined ? [] : [{ url, username, password: { text: password } }]
}

/** Git asks for credentials with these schemes alone. */
function faultOfUrl(url: string): string | undefined {
  const { protocol, username, password } = URL.parse(url) ?? { protocol: '', username: '', password: '' }
  if (protocol !== 'https:' && protocol !== 'http:') return 'does not begin with https:// or http://'
  if (username !== '' || password !== '') return 'holds a user: give it as username and password'
  return undefined
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Undefined where it is neither an object nor a list. */
function parsed(text: string): readonly unknown[] | undefined {
  if (text.trim() === '') return []
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) ? value : isObject(value) ? [value] : undefined
  } catch {
    return undefined
  }
}

/** Where JSON ends being so; all else of that message quotes the text. */
function positionOf(text: string): string {
  try {
    JSON.parse(text)
    return ''
  } catch (error) {
    const [, position] = /at position (\d+)/.exec(String(error)) ?? []
    return position === undefined ? '' : `; it is none from position ${Number(position) + 1} on`
  }
}

const mask = '***'

/** The same JSON with passwords masked, and what else might be one; all of it where it is no such JSON. */
export function shownCredentials(text: string): string {
  if (text.trim() === '') return ''
  const list = parsed(text)
  if (list === undefined) return mask
  const shown = list.map((entry) =>
    isObject(entry)
      ? Object.fromEntries(
          Object.entries(entry).map(([key, value]) => [key, isPublic(key, value) ? value : mask]),
        )
      : mask,
  )
  return JSON.stringify(text.trimStart().startsWith('[') ? shown : shown[0])
}

/** The passwords, and what else might be one. */
export function secretsInCredentials(text: string): readonly string[] {
  if (text.trim() === '') return []
  const list = parsed(text)
  if (list === undefined) return [text]
  return list.flatMap((entry) =>
    isObject(entry)
      ? Object.entries(entry).flatMap(([key, value]) => (isPublic(key, value) ? [] : textsIn(value)))
      : textsIn(entry),
  )
}

const isPublic = (key: string, value: unknown): boolean =>
  typeof value === 'string' &&
  (key === 'username' ||
    (key === 'url' && !value.includes('@')) ||
    (key === 'password-file' && value.startsWith('/')))

const textsIn = (value: unknown): string[] => (typeof value === 'string' && value !== '' ? [value] : [])

/**
 * Credentials with the passwords that their files hold now.
 * @throws Error that names every file that cannot serve
 */
export async function readCredentials(sources: readonly CredentialSource[]): Promise<Credential[]> {
  const faults: string[] = []
  const read = await Promise.all(
    sources.map((source) =>
      readCredential(source).catch((error: Error) => {
        faults.push(error.message)
        return []
      }),
    ),
  )
  if (faults.length > 0) throw new Error(faults.join('; '))
  return read.flat()
}

async function readCredential({ url, username, password }: CredentialSource): Promise<Credential[]> {
  if ('text' in password) return [{ url, username, password: password.text }]
  const text = await readSecretFile(password.file).catch((error: Error) => {
    throw new Error(`the password for ${url}: ${error.message}`)
  })
  if (!isOneLine(text)) throw new Error(`the password for ${url}: its file holds more than one line`)
  return [{ url, username, password: text }]
}
