import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isHash } from './address.ts'
import type { Git } from './git.ts'
import { GitError } from './git-error.ts'

/** Whose signatures count. With both, either is enough. */
export interface Signers {
  /** File of allowed signers, ssh-keygen(1). */
  readonly allowedSigners?: string
  /** File of OpenPGP public keys, armoured or not. */
  readonly gpgKeys?: string
}

export interface Signed {
  /** What the ref names: a commit, or the object of an annotated tag. */
  readonly object: string
  readonly commit: string
  /** The whole name of the ref. */
  readonly name: string
}

/** What is asked for was not signed by anybody who may. */
export class UnsignedError extends Error {
  override readonly name = 'UnsignedError'
}

/**
 * Passes what is signed by one of the signers: an annotated tag by its own signature, anything else by the commit's.
 * A tag must also bear the name by which it was asked for, since a signed one could be served under another name, or in
 * the place of a branch.
 * @throws UnsignedError
 */
export async function checkSignature(
  git: Git,
  directory: string,
  { object, commit, name }: Signed,
  { allowedSigners, gpgKeys }: Signers,
  signal: AbortSignal,
): Promise<void> {
  // Signatures are written to files for the programs that check them, and the usual place may be read-only.
  const place = join(directory, '.git', 'outrider-verify')
  await rm(place, { recursive: true, force: true })
  await mkdir(place, { recursive: true, mode: 0o700 })
  const isTag = object !== commit
  const options = {
    ...{ directory, signal },
    settings: [
      ['gpg.program', 'gpg'],
      ['gpg.ssh.program', 'ssh-keygen'],
      ['gpg.x509.program', 'false'],
      ['gpg.minTrustLevel', 'undefined'],
      ['gpg.ssh.allowedSignersFile', allowedSigners ?? '/dev/null'],
    ] as const,
    variables: { TMPDIR: place, GNUPGHOME: place },
  }
  try {
    const keys = gpgKeys === undefined ? Buffer.alloc(0) : binaryKeys(await readFile(gpgKeys), gpgKeys)
    await writeFile(join(place, 'keys.gpg'), keys)
    await writeFile(join(place, 'gpg.conf'), gpgConfiguration(join(place, 'keys.gpg')))
    await git.run([isTag ? 'verify-tag' : 'verify-commit', object], options)
    if (isTag) checkTagName(await git.run(['cat-file', 'tag', object], options), name, object)
  } catch (error) {
    if (!(error instanceof GitError) || error.kind === 'aborted') throw error
    const what = isTag ? `the tag ${object}` : `the commit ${commit}`
    // Git says nothing at all where there is no signature.
    const why = /exit code 1$/.test(error.message) ? 'it has no signature' : error.message
    throw new UnsignedError(`${what} of ${name} is not signed by an allowed signer: ${why}`)
  } finally {
    await rm(place, { recursive: true, force: true })
  }
}

/** No agent, no network, no other keys: only whether one of these made the signature. */
const gpgConfiguration = (keyring: string): string =>
  [
    'no-default-keyring',
    `keyring ${keyring}`,
    'trust-model always',
    'no-autostart',
    'lock-never',
    'no-auto-key-retrieve',
    '',
  ].join('\n')

function checkTagName(tag: string, name: string, object: string): void {
  // A hash names one object and no other.
  if (isHash(name)) return
  const [, own] = /^tag (.+)$/m.exec(tag.split('\n\n', 1)[0] ?? '') ?? []
  if (name !== `refs/tags/${own}`)
    throw new UnsignedError(
      `the tag ${object} of ${name} was signed as ${own ?? 'nothing'}, not by this name`,
    )
}

/** A keyring of binary packets from armoured keys (RFC 9580, 6.2), one after another; binary keys stay as they are. */
function binaryKeys(content: Buffer, file: string): Buffer {
  const text = content.toString('latin1')
  const blocks = text.matchAll(
    /-----BEGIN PGP PUBLIC KEY BLOCK-----([\s\S]*?)-----END PGP PUBLIC KEY BLOCK-----/g,
  )
  const keys = [...blocks].map(([, block = '']) => {
    // Headers end at the first empty line; the last line, which begins with =, is a checksum.
    const body = block.replace(/^\s*\n?(?:[A-Za-z]+: .*\r?\n)*/, '').replace(/\r?\n=[A-Za-z0-9+/]{4}\s*$/, '')
    return Buffer.from(body, 'base64')
  })
  const keyring = keys.length === 0 ? content : Buffer.concat(keys)
  // Each packet begins with this bit (RFC 9580, 4.2).
  if (((keyring[0] ?? 0) & 0x80) === 0)
    throw new Error(`${file} holds no OpenPGP key: give public keys, armoured or not`)
  return keyring
}
