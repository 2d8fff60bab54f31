import type { KeyPair } from './certificate.ts'
import { readPkcs12 } from './pkcs12.ts'

/** A pair and where it came from: the path of the certificate, relative to the directory. */
export interface NamedPair extends KeyPair {
  name: string
}

type Files = ReadonlyMap<string, Buffer>

/** Of authorities and not of servers, even with the key beside it that tutorials leave there. */
const AUTHORITY = /(^|[.-])(ca|chain|issuer|ca-bundle)$/
const CERTIFICATE = '-----BEGIN CERTIFICATE-----'
const PRIVATE_KEY = /-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----/

/**
 * Finds the pairs in a directory, given as the files in it and one level below by relative path, sorted by name:
 *
 * - `a.crt`, `a.cert` or `a.pem` with `a.key` beside it, so `host/tls.crt` with `host/tls.key` too
 * - `a.pem` with chain and key in one
 * - `fullchain.pem` with `privkey.pem`; `cert.pem` and `chain.pem` beside them say the same again
 * - `a.p12` or `a.pfx`, in any case of letters, opened with `password`
 *
 * Other files are no concern of it: keys alone, `ca.crt`, `*.issuer.crt`, `*-ca.pem`, names that begin with a dot. Throws
 * an Error that names every certificate without its key and each PKCS#12 file that cannot be read. What is in the
 * other files is left to `inspectKeyPair`.
 */
export function pairsIn(files: Files, password?: string): NamedPair[] {
  const pairs: NamedPair[] = []
  const problems: string[] = []
  for (const name of [...files.keys()].sort()) {
    try {
      const pair = pairOf(name, files, password)
      if (pair !== undefined) pairs.push({ name, ...pair })
    } catch (error) {
      problems.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  if (problems.length > 0) throw new Error(problems.join('; '))
  return pairs
}

function pairOf(name: string, files: Files, password: string | undefined): KeyPair | undefined {
  const content = files.get(name)
  const [, folder = '', stem = '', extension = ''] = /^(.*\/)?([^/]*)\.([^./]*)$/.exec(name) ?? []
  if (content === undefined || stem === '' || stem.startsWith('.') || AUTHORITY.test(stem)) return undefined
  if (/^(p12|pfx)$/i.test(extension)) return readPkcs12(content, password)
  if (!['crt', 'cert', 'pem'].includes(extension)) return undefined

  if (name === `${folder}cert.pem` && files.has(`${folder}fullchain.pem`)) return undefined
  const keys = [`${folder}${stem}.key`]
  if (name === `${folder}fullchain.pem`) keys.unshift(`${folder}privkey.pem`)
  const key = keys.map((each) => files.get(each)).find((each) => each !== undefined)
  if (key !== undefined) return { cert: content, key }
  if (extension === 'pem') {
    const text = content.toString('latin1')
    // A key, or Diffie-Hellman parameters.
    if (!text.includes(CERTIFICATE)) return undefined
    if (PRIVATE_KEY.test(text)) return { cert: content, key: content }
  }
  throw new Error(`its key ${keys[0]} is missing: put it there, or take the certificate away`)
}
