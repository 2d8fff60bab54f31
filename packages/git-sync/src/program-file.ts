import { constants } from 'node:fs'
import { access, open, stat } from 'node:fs/promises'
import { delimiter, isAbsolute, join, resolve } from 'node:path'

/**
 * The absolute path of a program that may be started.
 *
 * @param program a path, from `directory` where it is relative; or a name, which is looked for in `path`
 * @throws Error that says what is wrong with it and what to do
 */
export async function findProgram(
  program: string,
  directory: string,
  path = '/usr/bin:/bin',
): Promise<string> {
  if (!(await isDirectory(directory)))
    throw new Error(`${directory}, in which ${program} should run, is gone`)
  const candidates = program.includes('/') ? [resolve(directory, program)] : inPath(program, path)
  for (const file of candidates) {
    const kind = await kindOf(file)
    if (kind === 'missing') continue
    if (kind === 'directory') throw new Error(`${file} is a directory: name the program in it`)
    if (!(await isExecutable(file))) throw new Error(`${file} may not be executed: chmod +x ${file}`)
    const problem = await problemOfScript(file)
    if (problem !== undefined) throw new Error(problem)
    return file
  }
  throw new Error(
    program.includes('/')
      ? `there is no ${candidates[0]}: mount it there, or name another program`
      : `there is no program ${program} in ${path}: give its path`,
  )
}

/** Entries that are not absolute would find programs in what was checked out. */
const inPath = (name: string, path: string): string[] =>
  path
    .split(delimiter)
    .filter(isAbsolute)
    .map((directory) => join(directory, name))

async function isDirectory(path: string): Promise<boolean> {
  return (await kindOf(path)) === 'directory'
}

async function kindOf(path: string): Promise<'missing' | 'directory' | 'file'> {
  try {
    return (await stat(path)).isDirectory() ? 'directory' : 'file'
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'missing'
    throw error
  }
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const HEAD_BYTES = 256

/**
 * Of a text whose interpreter is not there, or that names none: the kernel would refuse it, and the C library then gives it
 * to a shell without saying so, or, where there is no shell, says that the script itself is missing.
 */
async function problemOfScript(file: string): Promise<string | undefined> {
  const head = await headOf(file)
  // Programs of all formats have zeros in their heads, and one that may not be read is no script.
  if (head === undefined || head.includes(0)) return undefined
  const [line = ''] = head.toString('latin1').split('\n')
  const interpreter = /^#![ \t]*([^ \t\r]+)/.exec(line)?.[1]
  if (interpreter === undefined)
    return `${file} is neither a program nor a script: a script begins with a line such as #!/bin/sh`
  if (line.endsWith('\r'))
    return `the first line of ${file} ends with a carriage return: save it with Unix line ends`
  const missing = isAbsolute(interpreter) && (await kindOf(interpreter)) === 'missing'
  return missing
    ? `${interpreter}, which should run ${file}, is not here: name another interpreter, or use an image that has it`
    : undefined
}

/**
 * Whether a program is built for another kind of processor. It may run all the same where the kernel has an emulator, and
 * where it has none, the C library gives it to a shell, which finds errors of syntax in it.
 */
export async function isForeign(file: string): Promise<boolean> {
  const [its, ours] = [machineOf(await headOf(file)), machineOf(await headOf(process.execPath))]
  return its !== undefined && ours !== undefined && !its.equals(ours)
}

/** elf(5): `e_machine`. */
const machineOf = (head: Buffer | undefined): Buffer | undefined =>
  head?.toString('latin1', 0, 4) === '\x7fELF' ? head.subarray(18, 20) : undefined

async function headOf(file: string): Promise<Buffer | undefined> {
  try {
    await using handle = await open(file)
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(HEAD_BYTES), length: HEAD_BYTES })
    return buffer.subarray(0, bytesRead)
  } catch {
    return undefined
  }
}
