import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gitSettings, run } from './run-git-test-support.ts'

/** A key that signs commits and tags. */
export interface Signer extends AsyncDisposable {
  /** What git must have in its environment to sign with it. */
  readonly env: Readonly<Record<string, string>>
  /** The text that verifies: lines of an allowed signers file, or armoured public keys. */
  readonly publicKey: string
}

/** An ed25519 key without a passphrase; its public half is in `<file>.pub`. */
export async function makeSshKey(file: string): Promise<string> {
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', file])
  return file
}

export async function makeSshSigner(directory: string, principal = 'tester@example.com'): Promise<Signer> {
  await mkdir(directory, { recursive: true })
  const file = await makeSshKey(join(directory, 'signing-key'))
  const key = (await readFile(`${file}.pub`, 'utf8')).trim()
  return {
    env: gitSettings({ 'gpg.format': 'ssh', 'user.signingKey': file }),
    publicKey: `${principal} ${key}\n`,
    async [Symbol.asyncDispose]() {},
  }
}

/** GnuPG keeps an agent running for the directory, which disposing ends. The path must be short: a socket is in it. */
export async function makeGpgSigner(
  directory: string,
  user = 'Tester <tester@example.com>',
): Promise<Signer> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const env = { GNUPGHOME: directory }
  const gpg = (...args: readonly string[]) => run('gpg', ['--batch', '--quiet', ...args], { env })
  await gpg('--passphrase', '', '--quick-generate-key', user, 'ed25519', 'sign', '0')
  return {
    env: { ...env, ...gitSettings({ 'gpg.format': 'openpgp', 'user.signingKey': user }) },
    publicKey: await gpg('--armor', '--export', user),
    async [Symbol.asyncDispose]() {
      await run('gpgconf', ['--kill', 'all'], { env })
    },
  }
}
