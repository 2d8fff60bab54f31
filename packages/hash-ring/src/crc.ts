const CRC32 = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
  return value
})

const CRC16 = Uint16Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 8
  for (let bit = 0; bit < 8; bit += 1) value = value & 0x8000 ? (value << 1) ^ 0x1021 : value << 1
  return value & 0xffff
})

/** The state before the first byte; the CRC-32 is the complement of the state after the last. */
export const CRC32_START = -1

/** CRC-32 (IEEE 802.3, reflected): the state after further bytes, as a signed integer. */
export function crc32State(state: number, bytes: Uint8Array, start: number, end: number): number {
  let crc = state
  for (let at = start; at < end; at += 1) crc = crc32Byte(crc, bytes[at] ?? 0)
  return crc
}

export function crc32Byte(state: number, byte: number): number {
  return (CRC32[(state ^ byte) & 0xff] ?? 0) ^ (state >>> 8)
}

/** CRC-16 (polynomial 0x1021 from 0, XMODEM) whose upper half keeps what is shifted out of the lower. */
export function wideCrc16(bytes: Uint8Array, start: number, end: number): number {
  let crc = 0
  for (let at = start; at < end; at += 1) {
    crc = (crc << 8) ^ (CRC16[((crc >> 8) ^ (bytes[at] ?? 0)) & 0xff] ?? 0)
  }
  return crc
}
