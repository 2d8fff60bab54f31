import { Buffer } from 'node:buffer'
import { TextDecoder } from 'node:util'

/**
 * What body-parser and raw-body call of iconv-lite, on Node's own decoders: bundles carry this instead of half a
 * megabyte of tables. The encodings are those of the Encoding Standard, which has every `utf-8` and `utf-16`, but no
 * `utf-32`.
 */

interface Decoder {
  write(chunk: Buffer): string
  /** Gives what an unfinished last character becomes. */
  end(): string
}

export function encodingExists(encoding: string): boolean {
  try {
    new TextDecoder(encoding)
    return true
  } catch {
    return false
  }
}

/** @throws Error as {@link getDecoder} */
export function decode(input: Buffer | string, encoding: string): string {
  return newDecoder(encoding).decode(Buffer.from(input))
}

/** @throws Error whose message raw-body recognises, and answers with 415 */
export function getDecoder(encoding: string): Decoder {
  const decoder = newDecoder(encoding)
  return {
    write: (chunk) => decoder.decode(chunk, { stream: true }),
    end: () => decoder.decode(),
  }
}

function newDecoder(encoding: string): TextDecoder {
  if (!encodingExists(encoding)) throw new Error(`Encoding not recognized: '${encoding}'`)
  return new TextDecoder(encoding)
}
