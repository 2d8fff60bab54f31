/** The version of the protocol that a connection speaks: 3 after `HELLO 3`. */
export type Protocol = 2 | 3

/** A command as Redis reads it: an array of bulk strings. */
export function encodeCommand(args: readonly (string | Uint8Array)[]): Buffer {
  let size = headerSize(args.length)
  for (const arg of args) size += bulkSize(Buffer.byteLength(arg))
  const bytes = Buffer.allocUnsafe(size)
  let at = bytes.write(`*${args.length}\r\n`, 'latin1')
  for (const arg of args) at = writeBulk(bytes, at, arg)
  return bytes
}

export function encodeBulk(value: string | Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(bulkSize(Buffer.byteLength(value)))
  writeBulk(bytes, 0, value)
  return bytes
}

/** Line ends within become spaces, as in Redis: they would end the reply. */
export function encodeSimple(text: string): Buffer {
  return Buffer.from(`+${oneLine(text)}\r\n`)
}

/** @param text with its code: `ERR unknown command 'x'`; line ends within become spaces, as in Redis */
export function encodeError(text: string): Buffer {
  return Buffer.from(`-${oneLine(text)}\r\n`)
}

/** @param value a signed 64-bit integer */
export function encodeInteger(value: number | bigint): Buffer {
  return Buffer.from(`:${value}\r\n`, 'latin1')
}

export function encodeNull(protocol: Protocol): Buffer {
  return Buffer.from(protocol === 3 ? '_\r\n' : '$-1\r\n', 'latin1')
}

/** What stands for a missing array: EXEC that was aborted, BLPOP that waited in vain. */
export function encodeNullArray(protocol: Protocol): Buffer {
  return Buffer.from(protocol === 3 ? '_\r\n' : '*-1\r\n', 'latin1')
}

/** What goes before the elements. */
export function encodeArrayHeader(count: number): Buffer {
  return Buffer.from(`*${count}\r\n`, 'latin1')
}

/** What goes before the elements; RESP2 knows no sets. */
export function encodeSetHeader(count: number, protocol: Protocol): Buffer {
  return Buffer.from(`${protocol === 3 ? '~' : '*'}${count}\r\n`, 'latin1')
}

/** What goes before the pairs, each of which is a key and its value; RESP2 has them one after the other in an array. */
export function encodeMapHeader(pairs: number, protocol: Protocol): Buffer {
  return Buffer.from(protocol === 3 ? `%${pairs}\r\n` : `*${pairs * 2}\r\n`, 'latin1')
}

/** What goes before the elements of what nobody asked for, as a message to a subscriber; an array in RESP2. */
export function encodePushHeader(count: number, protocol: Protocol): Buffer {
  return Buffer.from(`${protocol === 3 ? '>' : '*'}${count}\r\n`, 'latin1')
}

/** In RESP2 a bulk string of the same text. */
export function encodeDouble(value: number, protocol: Protocol): Buffer {
  const text = Number.isFinite(value)
    ? String(value)
    : Number.isNaN(value)
      ? 'nan'
      : value > 0
        ? 'inf'
        : '-inf'
  return protocol === 3 ? Buffer.from(`,${text}\r\n`, 'latin1') : encodeBulk(text)
}

/** In RESP2 the integer 1 or 0. */
export function encodeBoolean(value: boolean, protocol: Protocol): Buffer {
  if (protocol === 2) return encodeInteger(value ? 1 : 0)
  return Buffer.from(value ? '#t\r\n' : '#f\r\n', 'latin1')
}

/** Plain text for people, as INFO gives it; a bulk string in RESP2. */
export function encodeVerbatim(text: string, protocol: Protocol): Buffer {
  if (protocol === 2) return encodeBulk(text)
  return Buffer.from(`=${Buffer.byteLength(text) + 4}\r\ntxt:${text}\r\n`)
}

/** Bytes of `*<count>\r\n` or `$<length>\r\n`. */
function headerSize(value: number): number {
  let size = 4
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) size += 1
  return size
}

/** Bytes that a bulk string of this length takes. */
export function bulkSize(length: number): number {
  return headerSize(length) + length + 2
}

function writeBulk(bytes: Buffer, from: number, value: string | Uint8Array): number {
  const length = Buffer.byteLength(value)
  let at = from + bytes.write(`$${length}\r\n`, from, 'latin1')
  if (typeof value === 'string') bytes.write(value, at)
  else bytes.set(value, at)
  at += length
  bytes[at] = 0x0d
  bytes[at + 1] = 0x0a
  return at + 2
}

function oneLine(text: string): string {
  return text.replace(/[\r\n]/g, ' ')
}
