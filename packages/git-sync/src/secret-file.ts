import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

const mostBytes = 64 * 1024

/**
 * The text of a file that holds a secret: at most 64 KiB of UTF-8, without the line break at its end.
 * @throws Error that names the file and never what it holds
 */
export async function readSecretFile(path: string): Promise<string> {
  // What is no absolute path may be the secret itself, put into the wrong place.
  const named = path.startsWith('/') ? path : 'a file whose path does not begin with /'
  const bytes = await readBytes(path).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${named} cannot be read: ${error.code ?? error.message}`)
  })
  if (bytes.length > mostBytes) throw new Error(`${named} is larger than 64 KiB, so it holds no secret`)
  const text = decoded(bytes)?.replace(/\r?\n$/, '')
  if (text === undefined) throw new Error(`${named} is not UTF-8`)
  if (text === '') throw new Error(`${named} is empty`)
  return text
}

async function readBytes(path: string): Promise<Buffer> {
  // A named pipe without a writer would hold this thread for ever.
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  if (!(await file.stat()).isFile()) throw new Error('it is no regular file')
  const buffer = Buffer.alloc(mostBytes + 1)
  let length = 0
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length)
    length += bytesRead
    if (bytesRead === 0 || length === buffer.length) return buffer.subarray(0, length)
  }
}

function decoded(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}
