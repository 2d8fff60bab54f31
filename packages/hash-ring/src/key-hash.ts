import { CRC32_START, crc32State, wideCrc16 } from './crc.ts'
import { md5 } from './md5.ts'

/**
 * What `char` is where the peer was compiled: signed on x86-64, unsigned on ARM Linux. Bytes from 0x80 are
 * sign-extended before they are mixed in where it is signed, and so keys beyond ASCII land elsewhere.
 */
export type CharSign = 'signed' | 'unsigned'

/** The hash of keys that a distribution uses. */
export interface KeyHash {
  readonly name: string
  /** Hashes are below this. */
  readonly range: number
  /** `hashBytes` as this hash is configured. An empty key is 0: twemproxy calls no hash function for it. */
  of(bytes: Uint8Array, start: number, end: number): number
  /** Whether both give the same hash to every key. */
  equals(other: KeyHash): boolean
}

type Mix = (bytes: Uint8Array, start: number, end: number, shift: number) => number

// Below, `byte << shift >> shift` is the byte as a char: shift is 24 where chars are signed, otherwise 0.
const FUNCTIONS = {
  one_at_a_time: oneAtATime,
  md5,
  crc16: wideCrc16,
  crc32,
  crc32a,
  fnv1_64: fnv1x64,
  fnv1a_64: fnv1ax64,
  fnv1_32: fnv1x32,
  fnv1a_32: fnv1ax32,
  hsieh,
  murmur,
  jenkins,
} satisfies Record<string, Mix>

/** The twelve names of twemproxy, which are libmemcached's functions. */
export type KeyHashName = keyof typeof FUNCTIONS

export const KEY_HASHES: readonly string[] = Object.keys(FUNCTIONS)

export function isKeyHashName(name: string): name is KeyHashName {
  return Object.hasOwn(FUNCTIONS, name)
}

/** One of the twelve hashes, to be asked many times. */
export function keyHash(name: KeyHashName, charSign: CharSign = 'signed'): KeyHash {
  return new NamedHash(name, charSign)
}

class NamedHash implements KeyHash {
  readonly name: KeyHashName
  readonly range: number
  readonly #charSign: CharSign
  readonly #mix: Mix
  readonly #shift: number

  constructor(name: KeyHashName, charSign: CharSign) {
    this.name = name
    this.range = name === 'crc32' ? 2 ** 15 : 2 ** 32
    this.#charSign = charSign
    this.#mix = FUNCTIONS[name]
    this.#shift = charSign === 'signed' ? 24 : 0
  }

  of(bytes: Uint8Array, start: number, end: number): number {
    return start === end ? 0 : this.#mix(bytes, start, end, this.#shift)
  }

  equals(other: KeyHash): boolean {
    return other instanceof NamedHash && other.name === this.name && other.#charSign === this.#charSign
  }
}

/**
 * The hash of a key that is not empty, as a signed integer, which V8 gives back without an allocation; `>>> 0` makes
 * it the unsigned one.
 */
export function hashBytes(
  name: KeyHashName,
  bytes: Uint8Array,
  start: number,
  end: number,
  charSign: CharSign = 'signed',
): number {
  return FUNCTIONS[name](bytes, start, end, charSign === 'signed' ? 24 : 0)
}

// The offset and prime of FNV-64, cut to the 32 bits that twemproxy computes in.
const FNV_64_OFFSET = 0x84222325 | 0
const FNV_64_PRIME = 0x1b3
const FNV_32_OFFSET = 0x811c9dc5 | 0
const FNV_32_PRIME = 0x01000193

function fnv1x64(bytes: Uint8Array, start: number, end: number, shift: number): number {
  return fnv1(bytes, start, end, shift, FNV_64_OFFSET, FNV_64_PRIME)
}

function fnv1x32(bytes: Uint8Array, start: number, end: number, shift: number): number {
  return fnv1(bytes, start, end, shift, FNV_32_OFFSET, FNV_32_PRIME)
}

function fnv1ax64(bytes: Uint8Array, start: number, end: number, shift: number): number {
  return fnv1a(bytes, start, end, shift, FNV_64_OFFSET, FNV_64_PRIME)
}

function fnv1ax32(bytes: Uint8Array, start: number, end: number, shift: number): number {
  return fnv1a(bytes, start, end, shift, FNV_32_OFFSET, FNV_32_PRIME)
}

function fnv1(
  bytes: Uint8Array,
  start: number,
  end: number,
  shift: number,
  offset: number,
  prime: number,
): number {
  let hash = offset
  for (let at = start; at < end; at += 1) {
    hash = Math.imul(hash, prime) ^ (((bytes[at] ?? 0) << shift) >> shift)
  }
  return hash
}

function fnv1a(
  bytes: Uint8Array,
  start: number,
  end: number,
  shift: number,
  offset: number,
  prime: number,
): number {
  let hash = offset
  for (let at = start; at < end; at += 1) {
    hash = Math.imul(hash ^ (((bytes[at] ?? 0) << shift) >> shift), prime)
  }
  return hash
}

function oneAtATime(bytes: Uint8Array, start: number, end: number, shift: number): number {
  let hash = 0
  for (let at = start; at < end; at += 1) {
    hash = (hash + (((bytes[at] ?? 0) << shift) >> shift)) | 0
    hash = (hash + (hash << 10)) | 0
    hash ^= hash >>> 6
  }
  hash = (hash + (hash << 3)) | 0
  hash ^= hash >>> 11
  return (hash + (hash << 15)) | 0
}

// libmemcached's habit: 15 bits.
function crc32(bytes: Uint8Array, start: number, end: number): number {
  return (crc32a(bytes, start, end) >> 16) & 0x7fff
}

function crc32a(bytes: Uint8Array, start: number, end: number): number {
  return ~crc32State(CRC32_START, bytes, start, end)
}

// Paul Hsieh's SuperFastHash. Of its bytes only the last of a tail of three is a char.
function hsieh(bytes: Uint8Array, start: number, end: number, shift: number): number {
  let hash = 0
  let at = start
  for (; end - at >= 4; at += 4) {
    hash = (hash + half(bytes, at)) | 0
    hash = (hash << 16) ^ ((half(bytes, at + 2) << 11) ^ hash)
    hash = (hash + (hash >>> 11)) | 0
  }
  if (end - at === 3) {
    hash = (hash + half(bytes, at)) | 0
    hash ^= hash << 16
    hash ^= (((bytes[at + 2] ?? 0) << shift) >> shift) << 18
    hash = (hash + (hash >>> 11)) | 0
  } else if (end - at === 2) {
    hash = (hash + half(bytes, at)) | 0
    hash ^= hash << 11
    hash = (hash + (hash >>> 17)) | 0
  } else if (end - at === 1) {
    hash = (hash + (bytes[at] ?? 0)) | 0
    hash ^= hash << 10
    hash = (hash + (hash >>> 1)) | 0
  }
  hash ^= hash << 3
  hash = (hash + (hash >>> 5)) | 0
  hash ^= hash << 4
  hash = (hash + (hash >>> 17)) | 0
  hash ^= hash << 25
  return (hash + (hash >>> 6)) | 0
}

const MURMUR = 0x5bd1e995

// MurmurHash2 for 32 bits, with the seed of libmemcached.
function murmur(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start
  let hash = Math.imul(0xdeadbeef, length) ^ length
  let at = start
  for (; end - at >= 4; at += 4) {
    let block = Math.imul(whole(bytes, at), MURMUR)
    block = Math.imul(block ^ (block >>> 24), MURMUR)
    hash = Math.imul(hash, MURMUR) ^ block
  }
  if (at < end) hash = Math.imul(hash ^ rest(bytes, at, end), MURMUR)
  hash = Math.imul(hash ^ (hash >>> 13), MURMUR)
  return hash ^ (hash >>> 15)
}

// Bob Jenkins' lookup3, hashlittle, with the initial value 13 of libmemcached.
function jenkins(bytes: Uint8Array, start: number, end: number): number {
  let a = (0xdeadbeef + (end - start) + 13) | 0
  let b = a
  let c = a
  let at = start
  for (; end - at > 12; at += 12) {
    a = (a + whole(bytes, at)) | 0
    b = (b + whole(bytes, at + 4)) | 0
    c = (c + whole(bytes, at + 8)) | 0
    a = (a - c) ^ rotate(c, 4)
    c = (c + b) | 0
    b = (b - a) ^ rotate(a, 6)
    a = (a + c) | 0
    c = (c - b) ^ rotate(b, 8)
    b = (b + a) | 0
    a = (a - c) ^ rotate(c, 16)
    c = (c + b) | 0
    b = (b - a) ^ rotate(a, 19)
    a = (a + c) | 0
    c = (c - b) ^ rotate(b, 4)
    b = (b + a) | 0
  }
  a = (a + rest(bytes, at, end)) | 0
  b = (b + rest(bytes, at + 4, end)) | 0
  c = (c + rest(bytes, at + 8, end)) | 0
  c = ((c ^ b) - rotate(b, 14)) | 0
  a = ((a ^ c) - rotate(c, 11)) | 0
  b = ((b ^ a) - rotate(a, 25)) | 0
  c = ((c ^ b) - rotate(b, 16)) | 0
  a = ((a ^ c) - rotate(c, 4)) | 0
  b = ((b ^ a) - rotate(a, 14)) | 0
  return ((c ^ b) - rotate(b, 24)) | 0
}

function half(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)
}

function whole(bytes: Uint8Array, at: number): number {
  return half(bytes, at) | (half(bytes, at + 2) << 16)
}

/** Up to four bytes, little-endian, of those before the end. */
function rest(bytes: Uint8Array, at: number, end: number): number {
  let value = 0
  const stop = Math.min(end, at + 4)
  for (let from = at; from < stop; from += 1) value |= (bytes[from] ?? 0) << ((from - at) << 3)
  return value
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}
