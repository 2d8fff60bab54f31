/** The system's name of an error, such as `ENOSPC`. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** What a file system has refused: the message names the path and a remedy, `code` is the system's, as is `cause`. */
export class FileError extends Error {
  override readonly name = 'FileError'
  readonly code: string

  constructor(message: string, code: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

/**
 * Makes what to throw of what was thrown; what does not come from the system stays as it is.
 * @param act what could not be done to the path, as in "cannot <act> <path>"
 */
export function fileError(act: string, path: string, cause: unknown): unknown {
  const code = errnoOf(cause)
  if (cause instanceof FileError || code === undefined) return cause
  const why = reasons[code]
  return new FileError(
    `cannot ${act} ${printable(path)}: ${why === undefined ? code : `${why} (${code})`}`,
    code,
    cause,
  )
}

const notAllowed = (): string =>
  `user ${process.getuid?.() ?? '?'} may not; let it write there (owner and mode, fsGroup in Kubernetes)`

const reasons: Readonly<Record<string, string>> = {
  ENOSPC: 'the file system is full; make room or give it more',
  EDQUOT: 'the quota is used up; make room or raise it',
  EROFS: 'the file system is read-only; mount the volume so that it can be written',
  EBUSY: 'it is a mount point or in use; unmount it, or end who uses it',
  EXDEV: 'another file system is mounted there; unmount it',
  EMFILE: 'too many files are open in this process; raise its limit (ulimit -n)',
  ENFILE: 'too many files are open in this system',
  EEXIST: 'something else is there; move it away',
  ENOENT: 'it does not exist',
  ENOTDIR: 'part of the path is not a directory',
  ELOOP: 'it is a symbolic link where none is followed',
  ENAMETOOLONG: 'the name is too long for this file system',
  EIO: 'the disk reports an error',
  ESTALE: 'the server has lost it; mount the volume again',
  get EACCES() {
    return notAllowed()
  },
  get EPERM() {
    return notAllowed()
  },
}

/** A path as one line, since names may hold anything. */
export function printable(path: string): string {
  return path.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\ufffd]/gu, '?')
}
