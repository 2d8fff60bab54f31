// RFC 1321, section 3.4: step i adds the integer part of 2^32 times |sin(i)|, i in radians from 1.
const SINES = Int32Array.from({ length: 64 }, (_, step) => Math.floor(Math.abs(Math.sin(step + 1)) * 2 ** 32))
const block = new Int32Array(16)

/** The four words of the last `md5`: bytes 4x to 4x+3 of the digest, read as little-endian signed integers. */
export const digest = new Int32Array(4)

/**
 * MD5 (RFC 1321) of a range of bytes, into `digest`; gives its first word. For keys of a few bytes this takes a
 * seventh of the time of `node:crypto`, which makes objects for each, and it is there where OpenSSL forbids MD5.
 */
export function md5(bytes: Uint8Array, start: number, end: number): number {
  digest[0] = 0x67452301
  digest[1] = 0xefcdab89
  digest[2] = 0x98badcfe
  digest[3] = 0x10325476
  let at = start
  for (; end - at >= 64; at += 64) {
    for (let word = 0; word < 16; word += 1) {
      const from = at + 4 * word
      const low = (bytes[from] ?? 0) | ((bytes[from + 1] ?? 0) << 8)
      block[word] = low | ((bytes[from + 2] ?? 0) << 16) | ((bytes[from + 3] ?? 0) << 24)
    }
    addBlock()
  }
  addRest(bytes, at, end, end - start)
  return digest[0] ?? 0
}

/** What is less than a block, with the padding: a bit, zeros, and the length in bits as 64 of them. */
function addRest(bytes: Uint8Array, from: number, end: number, length: number): void {
  block.fill(0)
  const rest = end - from
  for (let at = 0; at < rest; at += 1) put(at, bytes[from + at] ?? 0)
  put(rest, 0x80)
  if (rest >= 56) {
    addBlock()
    block.fill(0)
  }
  block[14] = length << 3
  block[15] = Math.floor(length / 2 ** 29)
  addBlock()
}

function put(at: number, byte: number): void {
  block[at >> 2] = (block[at >> 2] ?? 0) | (byte << ((at & 3) << 3))
}

function addBlock(): void {
  let a = digest[0] ?? 0
  let b = digest[1] ?? 0
  let c = digest[2] ?? 0
  let d = digest[3] ?? 0
  const [a0, b0, c0, d0] = [a, b, c, d]
  for (let i = 0; i < 16; i += 4) {
    a = (turn(a + ((b & c) | (~b & d)) + term(i, i), 7) + b) | 0
    d = (turn(d + ((a & b) | (~a & c)) + term(i + 1, i + 1), 12) + a) | 0
    c = (turn(c + ((d & a) | (~d & b)) + term(i + 2, i + 2), 17) + d) | 0
    b = (turn(b + ((c & d) | (~c & a)) + term(i + 3, i + 3), 22) + c) | 0
  }
  for (let i = 16; i < 32; i += 4) {
    a = (turn(a + ((d & b) | (~d & c)) + term(i, 5 * i + 1), 5) + b) | 0
    d = (turn(d + ((c & a) | (~c & b)) + term(i + 1, 5 * i + 6), 9) + a) | 0
    c = (turn(c + ((b & d) | (~b & a)) + term(i + 2, 5 * i + 11), 14) + d) | 0
    b = (turn(b + ((a & c) | (~a & d)) + term(i + 3, 5 * i), 20) + c) | 0
  }
  for (let i = 32; i < 48; i += 4) {
    a = (turn(a + (b ^ c ^ d) + term(i, 3 * i + 5), 4) + b) | 0
    d = (turn(d + (a ^ b ^ c) + term(i + 1, 3 * i + 8), 11) + a) | 0
    c = (turn(c + (d ^ a ^ b) + term(i + 2, 3 * i + 11), 16) + d) | 0
    b = (turn(b + (c ^ d ^ a) + term(i + 3, 3 * i + 14), 23) + c) | 0
  }
  for (let i = 48; i < 64; i += 4) {
    a = (turn(a + (c ^ (b | ~d)) + term(i, 7 * i), 6) + b) | 0
    d = (turn(d + (b ^ (a | ~c)) + term(i + 1, 7 * i + 7), 10) + a) | 0
    c = (turn(c + (a ^ (d | ~b)) + term(i + 2, 7 * i + 14), 15) + d) | 0
    b = (turn(b + (d ^ (c | ~a)) + term(i + 3, 7 * i + 21), 21) + c) | 0
  }
  digest[0] = a0 + a
  digest[1] = b0 + b
  digest[2] = c0 + c
  digest[3] = d0 + d
}

function term(step: number, word: number): number {
  return (SINES[step] ?? 0) + (block[word & 15] ?? 0)
}

function turn(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}
