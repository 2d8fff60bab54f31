export type { Access, Credential, SshAccess } from './access.ts'
export { checkRef, checkRepo, isHash, RefusedAddress } from './address.ts'
export { createGit, type Git, type GitOptions, type ProcessReport, type RunOptions } from './git.ts'
export { GitError, type GitErrorKind } from './git-error.ts'
export { type HttpRefs, type HttpRefsOptions, openHttpRefs } from './http-refs.ts'
export { makeDirectory } from './make-directory.ts'
export {
  type Mirror,
  type MirrorEvent,
  type MirrorOptions,
  openMirror,
  type RefSource,
  type SyncOptions,
  type SyncResult,
} from './mirror.ts'
export type { RemoteRef } from './remote-ref.ts'
export { type Signers, UnsignedError } from './signature.ts'
export type { Tree } from './worktree.ts'
