import { isHash } from './address.ts'
import { DELIMITER, FLUSH, type PktLine, pktLine } from './pkt-line.ts'
import type { RemoteRef } from './remote-ref.ts'

export type ObjectFormat = 'sha1' | 'sha256'

/** Any text that a ref cannot have in its name is harmless: each name is in a line of its own. */
export function lsRefsRequest(names: readonly string[], format: ObjectFormat): string {
  return [
    pktLine('command=ls-refs\n'),
    pktLine('agent=outrider\n'),
    // Left out for the format that every server takes for granted: an old one knows of no such capability.
    format === 'sha1' ? '' : pktLine(`object-format=${format}\n`),
    DELIMITER,
    pktLine('peel\n'),
    ...names.map((name) => pktLine(`ref-prefix ${name}\n`)),
    FLUSH,
  ].join('')
}

/** The answer was none to `ls-refs`. */
export class LsRefsError extends Error {
  override readonly name = 'LsRefsError'
}

/** Takes the lines of an answer to `ls-refs`, and keeps the refs that were asked for: servers may list more. */
export class RefList {
  readonly refs: RemoteRef[] = []
  isComplete = false
  readonly #wanted: Map<string, string>

  constructor(names: readonly string[]) {
    // Names are bytes without a known encoding, of which latin1 makes one character each.
    this.#wanted = new Map(names.map((name) => [Buffer.from(name).toString('latin1'), name]))
  }

  /** @throws LsRefsError */
  add(line: PktLine): void {
    if (this.isComplete) throw new LsRefsError('more after the end of the list')
    if (line === 'flush') {
      this.isComplete = true
      return
    }
    if (typeof line === 'string') throw new LsRefsError(`a ${line} packet in the list`)
    const [hash = '', raw = '', ...attributes] = line.toString('latin1').replace(/\n$/, '').split(' ')
    const peeled = attributes.find((text) => text.startsWith('peeled:'))?.slice('peeled:'.length)
    if (!isHash(hash) || raw === '' || (peeled !== undefined && !isHash(peeled))) {
      throw new LsRefsError('a line that tells no ref')
    }
    const name = this.#wanted.get(raw)
    if (name === undefined) return
    if (this.refs.some((ref) => ref.name === name)) throw new LsRefsError('a ref listed twice')
    this.refs.push({ name, hash, ...(peeled !== undefined && { peeled }) })
  }
}
