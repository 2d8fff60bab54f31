import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeGpgSigner, makeSshSigner, run, type Signer } from './git-servers-test-support.ts'
import { type MirrorScene, makeScene, sync } from './mirror-test-support.ts'

let scene: MirrorScene
const signers: Signer[] = []

beforeEach(async () => {
  scene = await makeScene()
})
afterEach(async () => {
  for (const signer of signers.splice(0)) await signer[Symbol.asyncDispose]()
  await scene[Symbol.asyncDispose]()
})

async function gpg(name: string): Promise<Signer & { readonly home: string }> {
  const home = join(scene.base, name)
  const signer = await makeGpgSigner(home, `${name} <${name}@example.com>`)
  signers.push(signer)
  return { ...signer, home }
}

const gpgIn = (home: string, ...args: readonly string[]) =>
  run('gpg', ['--batch', '--quiet', ...args], { env: { GNUPGHOME: home } })

async function fileOf(name: string, content: string | Buffer): Promise<string> {
  const file = join(scene.base, name)
  await writeFile(file, content)
  return file
}

const unsigned = /not signed by an allowed signer/

describe('a file of OpenPGP keys', () => {
  it.each([
    ['one after another, armoured', (keys: readonly string[]) => keys.join('')],
    [
      'with text around them and line ends of Windows',
      (keys: readonly string[]) => `Ours:\n\n${keys.join('\nand\n')}\n`.replaceAll('\n', '\r\n'),
    ],
    [
      'with comments in the armour',
      (keys: readonly string[]) =>
        keys.join('').replaceAll('BLOCK-----\n\n', 'BLOCK-----\nVersion: 1\nComment: a: b\n\n'),
    ],
  ] as const)('may have several: %s', async (_, join) => {
    const [alice, bob] = [await gpg('alice'), await gpg('bob')]
    const gpgKeys = await fileOf('keys of ours.asc', join([alice.publicKey, bob.publicKey]))
    const mirror = scene.open({ signers: { gpgKeys } })
    for (const sign of [alice, bob]) {
      const hash = await scene.repository.commit({ a: sign.home }, { sign })
      await sync(mirror)
      expect((await scene.published()).hash).toBe(hash)
    }
    await scene.repository.commit({ a: '3' }, { sign: await gpg('mallory') })
    await expect(sync(mirror)).rejects.toThrow(unsigned)
  })

  it('may be binary, and is read anew when it changes in bytes that are no text', async () => {
    const [alice, bob] = [await gpg('alice'), await gpg('bob')]
    const binary = async ({ home }: { readonly home: string }): Promise<Buffer> => {
      await gpgIn(home, '--yes', '--output', join(home, 'binary'), '--export')
      return await readFile(join(home, 'binary'))
    }
    const gpgKeys = await fileOf('keys.gpg', Buffer.concat([await binary(alice), await binary(bob)]))
    const hash = await scene.repository.commit({ a: '1' }, { sign: bob })
    const mirror = scene.open({ signers: { gpgKeys } })
    await sync(mirror)
    expect((await scene.published()).hash).toBe(hash)
    await writeFile(gpgKeys, await binary(alice))
    await expect(sync(mirror)).rejects.toThrow(unsigned)
  })

  it.each(['', 'rubbish', '-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n'])(
    'that holds no key, as %j, lets nothing pass and is named',
    async (content) => {
      const gpgKeys = await fileOf('keys', content)
      await scene.repository.commit({ a: '1' }, { sign: await gpg('alice') })
      await expect(sync(scene.open({ signers: { gpgKeys } }))).rejects.toThrow(
        `${gpgKeys} holds no OpenPGP key`,
      )
    },
  )

  it('that is not there is named, and the published tree stays', async () => {
    const alice = await gpg('alice')
    const gpgKeys = await fileOf('keys', alice.publicKey)
    const hash = await scene.repository.commit({ a: '1' }, { sign: alice })
    await sync(scene.open({ signers: { gpgKeys } })).finally(() =>
      scene.mirrors.splice(0)[0]?.[Symbol.asyncDispose](),
    )
    await expect(sync(scene.open({ signers: { gpgKeys: '/nowhere/keys' } }))).rejects.toThrow('/nowhere/keys')
    expect((await scene.published()).hash).toBe(hash)
  })
})

describe('a key that is no longer good', () => {
  it('because it has expired: what it has signed before is refused', async () => {
    const home = join(scene.base, 'late')
    await mkdir(home, { mode: 0o700 })
    const then = ['--faked-system-time', '20200101T120000']
    await gpgIn(
      home,
      ...then,
      '--passphrase',
      '',
      '--quick-generate-key',
      'late@example.com',
      'ed25519',
      'sign',
      '1d',
    )
    const program = await fileOf('gpg-then', `#!/bin/sh\nexec gpg ${then.join(' ')} "$@"\n`)
    await chmod(program, 0o755)
    const late: Signer = {
      publicKey: await gpgIn(home, '--armor', '--export'),
      env: {
        ...{ GNUPGHOME: home, GIT_CONFIG_COUNT: '2' },
        ...{ GIT_CONFIG_KEY_0: 'gpg.program', GIT_CONFIG_VALUE_0: program },
        ...{ GIT_CONFIG_KEY_1: 'user.signingKey', GIT_CONFIG_VALUE_1: 'late@example.com' },
      },
      [Symbol.asyncDispose]: async () =>
        void (await run('gpgconf', ['--kill', 'all'], { env: { GNUPGHOME: home } })),
    }
    signers.push(late)
    const gpgKeys = await fileOf('keys', late.publicKey)
    await scene.repository.commit({ a: '1' }, { sign: late })
    await expect(sync(scene.open({ signers: { gpgKeys } }))).rejects.toThrow(unsigned)
  })

  it('because it was revoked: what it has signed before is refused', async () => {
    const alice = await gpg('alice')
    const hash = await scene.repository.commit({ a: '1' }, { sign: alice })
    const gpgKeys = await fileOf('keys', alice.publicKey)
    const mirror = scene.open({ signers: { gpgKeys } })
    await sync(mirror)
    const [name = ''] = await readdir(join(alice.home, 'openpgp-revocs.d'))
    const revocation = await readFile(join(alice.home, 'openpgp-revocs.d', name), 'utf8')
    await writeFile(join(alice.home, 'revocation'), revocation.replace(/^:/m, ''))
    await gpgIn(alice.home, '--import', join(alice.home, 'revocation'))
    await writeFile(gpgKeys, await gpgIn(alice.home, '--armor', '--export'))
    await expect(sync(mirror)).rejects.toThrow(unsigned)
    expect((await scene.published()).hash).toBe(hash)
  })

  it('for SSH because its time is over, by the date of the commit', async () => {
    const alice = await makeSshSigner(join(scene.base, 'alice'))
    const [principal, ...key] = alice.publicKey.trim().split(' ')
    const line = (until: string) => `${principal} valid-before="${until}" ${key.join(' ')}\n`
    const allowedSigners = await fileOf('signers', line('20990101'))
    const mirror = scene.open({ signers: { allowedSigners } })
    await scene.repository.commit({ a: '1' }, { sign: alice })
    await sync(mirror)
    await writeFile(allowedSigners, line('20200101'))
    await expect(sync(mirror)).rejects.toThrow(unsigned)
  })
})

describe('what counts', () => {
  it('is a signature of either kind where both are allowed', async () => {
    const [alice, bob] = [await gpg('alice'), await makeSshSigner(join(scene.base, 'bob'))]
    const both = {
      gpgKeys: await fileOf('keys', alice.publicKey),
      allowedSigners: await fileOf('signers', bob.publicKey),
    }
    const mirror = scene.open({ signers: both })
    for (const sign of [alice, bob]) {
      const hash = await scene.repository.commit({ a: sign.publicKey }, { sign })
      await sync(mirror)
      expect((await scene.published()).hash).toBe(hash)
    }
  })

  it('is nothing that the configuration of a user says otherwise', async () => {
    const always = await fileOf('always', '#!/bin/sh\necho "[GNUPG:] GOODSIG 0 x" >&2\nexit 0\n')
    await chmod(always, 0o755)
    const mallory = await gpg('mallory')
    const gpgKeys = await fileOf('keys', (await gpg('alice')).publicKey)
    await scene.repository.commit({ a: '1' }, { sign: mallory })
    const settings = ['gpg.program', 'gpg.openpgp.program', 'gpg.ssh.program', 'gpg.x509.program'].map(
      (key) => [key, always] as const,
    )
    await expect(sync(scene.open({ signers: { gpgKeys } }, { settings }))).rejects.toThrow(unsigned)
  })

  it('is no key that the user who runs git trusts beside', async () => {
    const [alice, mallory] = [await gpg('alice'), await gpg('mallory')]
    const gpgKeys = await fileOf('keys', alice.publicKey)
    await scene.repository.commit({ a: '1' }, { sign: mallory })
    const environment = { PATH: process.env['PATH'], HOME: scene.base, GNUPGHOME: mallory.home }
    await expect(sync(scene.open({ signers: { gpgKeys } }, { environment }))).rejects.toThrow(unsigned)
  })

  it.each(['main', 'HEAD'])(
    'is no signed tag that is served in the place of the branch at %s',
    async (ref) => {
      const alice = await makeSshSigner(join(scene.base, 'alice'))
      const allowedSigners = await fileOf('signers', alice.publicKey)
      await scene.repository.commit({ a: '1' })
      const tag = await scene.repository.tag('experiment', { sign: alice })
      await writeFile(join(scene.repository.directory, 'refs/heads/main'), `${tag}\n`)
      await expect(sync(scene.open({ signers: { allowedSigners }, ref }))).rejects.toThrow(
        'signed as experiment',
      )
    },
  )

  it('leaves nothing of keys and signatures behind', async () => {
    const alice = await gpg('alice')
    const gpgKeys = await fileOf('keys', alice.publicKey)
    await scene.repository.commit({ a: '1' }, { sign: alice })
    const mirror = scene.open({ signers: { gpgKeys } })
    await sync(mirror)
    await scene.repository.commit({ a: '2' })
    await expect(sync(mirror)).rejects.toThrow(unsigned)
    expect(await readdir(join(scene.root, '.git'))).not.toContain('outrider-verify')
  })
})
