import { createHash, timingSafeEqual } from 'node:crypto'
import { type Fault, isMap, show, textFault } from './document.ts'
import type { Users } from './redis/local.ts'

const DIGEST = /^#[0-9a-f]{64}$/

/** Who may come in: names to passwords, or to `#` and the SHA-256 of a password in hexadecimal, as Redis has it. */
export type Passwords = ReadonlyMap<string, string>

/** Lets in whom these passwords belong to; everybody where there are none. */
export function usersOf(passwords: Passwords): Users {
  const digests = new Map<string, Buffer>()
  for (const [name, password] of passwords)
    digests.set(name, DIGEST.test(password) ? Buffer.from(password.slice(1), 'hex') : digestOf(password))
  return {
    required: digests.size > 0,
    check(user, password) {
      if (digests.size === 0) return true
      const expected = digests.get(user)
      // A name that does not exist takes as long as one that does.
      const isEqual = timingSafeEqual(digestOf(password), expected ?? NOBODYS)
      return isEqual && expected !== undefined
    },
  }
}

const digestOf = (password: string): Buffer => createHash('sha256').update(password).digest()
const NOBODYS = Buffer.alloc(32)

export type ReadUsers =
  | { readonly ok: true; readonly passwords: Passwords }
  | { readonly ok: false; readonly faults: readonly Fault[] }

/** Reads a map of names to passwords. Faults never show one. */
export function readUsers(document: unknown): ReadUsers {
  if (!isMap(document) || Object.keys(document).length === 0) {
    const text = 'must be a map of names to passwords, such as default: "#<sha256 in hexadecimal>"'
    return { ok: false, faults: [{ path: [], text }] }
  }
  const passwords = new Map<string, string>()
  const faults: Fault[] = []
  for (const [name, password] of Object.entries(document)) {
    const fault = textFault(name) ?? (/\s/.test(name) ? 'must have no spaces' : undefined)
    if (fault !== undefined) faults.push({ path: [name], text: `the user ${show(name)} ${fault}` })
    if (typeof password !== 'string' || password === '')
      faults.push({ path: [name], text: `the user ${show(name)} has no password: give a text` })
    else if (password.startsWith('#') && !DIGEST.test(password))
      faults.push({
        path: [name],
        text: `the password of ${show(name)} begins with #, so it must be 64 hexadecimal digits in small letters`,
      })
    else passwords.set(name, password)
  }
  return faults.length > 0 ? { ok: false, faults } : { ok: true, passwords }
}
