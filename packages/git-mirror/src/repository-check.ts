import type { Git } from './git.ts'
import { GitError } from './git-error.ts'

/**
 * Reads all objects of a repository. What their authors have written wrong does not count, nor does that git cannot
 * tell: configured wrongly, or ended for lack of memory.
 * @returns what is broken; undefined where nothing is known to be
 */
export async function faultOf(git: Git, directory: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    await git.run(['fsck', '--no-dangling', '--no-progress'], { directory, signal })
    return undefined
  } catch (error) {
    if (!(error instanceof GitError) || error.kind === 'aborted') throw error
    return isVerdict(error) ? error.message : undefined
  }
}

/** The exit code is a set of bits, of which the lowest tells of objects, or 128 where git gave up. */
function isVerdict({ exitCode, said, kind }: GitError): boolean {
  if (exitCode === undefined) return false
  if (exitCode >= 128) return kind === 'corrupt'
  const lines = said.split('\n').filter((line) => line.trim() !== '')
  return (
    exitCode !== 1 ||
    lines.some((line) => !/^(notice: |warning: |(error|warning) in \w+ [0-9a-f]+: )/.test(line))
  )
}
