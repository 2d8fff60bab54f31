import { hash } from 'node:crypto'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { digest, md5 } from './md5.ts'

function hex(): string {
  const bytes = Buffer.alloc(16)
  for (const [word, value] of digest.entries()) bytes.writeInt32LE(value, 4 * word)
  return bytes.toString('hex')
}

it('the digest is that of node:crypto, at every length around the blocks', () => {
  for (let length = 0; length <= 200; length += 1) {
    const bytes = Buffer.alloc(length, 'any bytes, \xff too', 'latin1')
    md5(bytes, 0, length)
    expect(hex()).toBe(hash('md5', bytes))
  }
})

it('the digest is that of node:crypto, for any range of any bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), fc.nat(300), (bytes, one, other) => {
      const [start, end] = [Math.min(one, other, bytes.length), Math.min(Math.max(one, other), bytes.length)]
      md5(bytes, start, end)
      expect(hex()).toBe(hash('md5', bytes.subarray(start, end)))
    }),
  )
})

it('the four words of `server1-8` are points of libmemcached', () => {
  expect(md5(Buffer.from('server1-8'), 0, 9) >>> 0).toBe(3853726576)
  expect((digest[3] ?? 0) >>> 0).toBe(2667054752)
})
