import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeGpgSigner, makeSshSigner, type Signer } from './git-servers-test-support.ts'
import { type MirrorScene, makeScene, sync } from './mirror-test-support.ts'

let scene: MirrorScene
let alice: Signer
let mallory: Signer

/** The same promises for both kinds of signatures. */
describe.each([
  ['ssh', 'allowedSigners', makeSshSigner],
  ['gpg', 'gpgKeys', makeGpgSigner],
] as const)('with signatures of %s', (_, option, makeSigner) => {
  let signers: { readonly [key: string]: string }

  beforeEach(async () => {
    scene = await makeScene()
    alice = await makeSigner(join(scene.base, 'a'))
    mallory = await makeSigner(join(scene.base, 'm'))
    const file = join(scene.base, 'signers')
    await writeFile(file, alice.publicKey)
    signers = { [option]: file }
  })
  afterEach(async () => {
    await alice[Symbol.asyncDispose]()
    await mallory[Symbol.asyncDispose]()
    await scene[Symbol.asyncDispose]()
  })

  it('a commit signed by an allowed signer is published', async () => {
    const hash = await scene.repository.commit({ a: '1' }, { sign: alice })
    await sync(scene.open({ signers }))
    expect((await scene.published()).hash).toBe(hash)
  })

  it('an unsigned commit and one signed by somebody else are refused, and the last good one stays', async () => {
    const hash = await scene.repository.commit({ a: '1' }, { sign: alice })
    const mirror = scene.open({ signers })
    await sync(mirror)
    const unsigned = await scene.repository.commit({ a: '2' })
    await expect(sync(mirror)).rejects.toThrow(
      `the commit ${unsigned} of HEAD is not signed by an allowed signer`,
    )
    await scene.repository.commit({ a: '3' }, { sign: mallory })
    await expect(sync(mirror)).rejects.toThrow('not signed by an allowed signer')
    expect((await scene.published()).hash).toBe(hash)
    const next = await scene.repository.commit({ a: '4' }, { sign: alice })
    await sync(mirror)
    expect((await scene.published()).hash).toBe(next)
  })

  it("an annotated tag is judged by its own signature, not by its commit's", async () => {
    await scene.repository.commit({ a: '1' })
    await scene.repository.tag('good', { sign: alice })
    await sync(scene.open({ signers, ref: 'good' }))
    await scene.repository.commit({ a: '2' }, { sign: alice })
    await scene.repository.tag('bad', { annotated: true })
    const other = { directory: join(scene.base, 'other'), link: join(scene.base, 'other/link') }
    await expect(sync(scene.open({ signers, ref: 'bad', ...other }))).rejects.toThrow('the tag')
  })

  it('a signed tag that is served under another name is refused', async () => {
    await scene.repository.commit({ a: '1' })
    const object = await scene.repository.tag('v1', { sign: alice })
    await scene.repository.setRef('refs/tags/v2', object)
    await expect(sync(scene.open({ signers, ref: 'v2' }))).rejects.toThrow('signed as v1')
  })

  it('a signer who is no longer allowed: what was published is judged again', async () => {
    const hash = await scene.repository.commit({ a: '1' }, { sign: alice })
    const mirror = scene.open({ signers })
    await sync(mirror)
    await writeFile(String(signers[option]), mallory.publicKey)
    await expect(sync(mirror)).rejects.toThrow('not signed by an allowed signer')
    expect((await scene.published()).hash).toBe(hash)
  })
})
