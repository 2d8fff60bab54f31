import { GitError } from '@outrider/git-mirror'
import { expect, it } from 'vitest'
import { errorKind } from './error-kind.ts'
import { HookRefusal, SyncTimeout } from './sync-loop.ts'

const system = (code: string): Error => Object.assign(new Error('refused'), { code })

it.each([
  [new GitError('fetch', 'corrupt', 'damaged'), 'corrupt'],
  [new HookRefusal('no', 1), 'hook'],
  [new SyncTimeout('late', new GitError('fetch', 'aborted', 'ended')), 'timeout'],
  [new SyncTimeout('late', new Error('the askpass URL did not answer')), 'timeout'],
  [system('ENOSPC'), 'no-space'],
  [system('EDQUOT'), 'no-space'],
  [system('EROFS'), 'read-only'],
  [system('EACCES'), 'permission'],
  [system('EPERM'), 'permission'],
  [system('EIO'), 'other'],
  [new Error('the SSH key cannot be read'), 'other'],
  ['a text', 'other'],
])('%o is of the kind %s', (error, kind) => {
  expect(errorKind(error)).toBe(kind)
})
