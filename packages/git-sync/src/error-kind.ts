import { GitError } from '@outrider/git-mirror'

const byName: Readonly<Record<string, string>> = {
  UnsignedError: 'unsigned',
  HookRefusal: 'hook',
  DirectoryLockedError: 'locked',
  SyncTimeout: 'timeout',
}

/** What the system says where a file system is at fault and no process of git has met it. */
const byErrno: Readonly<Record<string, string>> = {
  ENOSPC: 'no-space',
  EDQUOT: 'no-space',
  EROFS: 'read-only',
  EACCES: 'permission',
  EPERM: 'permission',
}

/** What was wrong with a sync, for a label of metrics: one of a few words. */
export function errorKind(error: unknown): string {
  if (error instanceof GitError) return error.kind
  if (!(error instanceof Error)) return 'other'
  const code = 'code' in error ? String(error.code) : ''
  return byName[error.name] ?? byErrno[code] ?? 'other'
}
