import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Outbox } from './outbox.ts'
import { until } from './proxy-test-support.ts'

async function pair(): Promise<{ near: Socket; far: Socket } & AsyncDisposable> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [far] = (await once(server, 'connection')) as [Socket]
  return {
    near,
    far,
    async [Symbol.asyncDispose]() {
      near.destroy()
      far.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

test('what is written goes out in its order, whatever its sizes and turns, and to nobody else', async () => {
  await using one = await pair()
  await using two = await pair()
  const boxes = [one, two].map(({ near, far }) => {
    const received: Buffer[] = []
    far.on('data', (bytes: Buffer) => received.push(bytes))
    return { box: new Outbox(near), received, sent: [] as Buffer[] }
  })
  const size = fc.oneof(fc.nat(60), fc.nat(1_100), fc.nat(9_000), fc.nat(40_000))
  const property = fc.asyncProperty(
    fc.array(fc.tuple(fc.nat(1), size, fc.constantFrom('copy', 'own', 'turn', 'expect')), { maxLength: 60 }),
    async (steps) => {
      for (const [index, length, how] of steps) {
        const target = boxes[index]
        if (target === undefined) continue
        const bytes = Buffer.alloc(length, (index === 0 ? 'a' : 'A').charCodeAt(0) + (length % 26))
        target.sent.push(bytes)
        target.box.expects = how === 'expect'
        if (how === 'own') target.box.own(Buffer.from(bytes))
        else {
          const lent = Buffer.concat([Buffer.from('xx'), bytes, Buffer.from('yy')])
          target.box.bytes(lent, 2, 2 + length)
          lent.fill('!')
        }
        if (how === 'turn') await new Promise((resolve) => setImmediate(resolve))
      }
      for (const { sent, received } of boxes) {
        const total = sent.reduce((sum, { length }) => sum + length, 0)
        await until(() => received.reduce((sum, { length }) => sum + length, 0) >= total, 'all bytes')
        expect(Buffer.concat(received).equals(Buffer.concat(sent))).toBe(true)
        sent.length = 0
        received.length = 0
      }
    },
  )
  await fc.assert(property, { numRuns: 100 })
})

test('what a reader does not take stays as it is, however much others write meanwhile', async () => {
  await using slow = await pair()
  await using quick = await pair()
  slow.far.pause()
  quick.far.resume()
  const box = new Outbox(slow.near)
  const other = new Outbox(quick.near)
  const noise = Buffer.alloc(900, '!')
  let length = 0
  for (let round = 0; round < 20_000; round += 1) {
    const bytes = Buffer.from(`${String(round).padStart(9, '0')}\n`.repeat(90))
    box.bytes(bytes, 0, bytes.length)
    length += bytes.length
    if (round % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
    other.bytes(noise, 0, noise.length)
  }
  const received: Buffer[] = []
  slow.far.on('data', (bytes: Buffer) => received.push(bytes))
  slow.far.resume()
  await until(() => received.reduce((sum, one) => sum + one.length, 0) >= length, 'all bytes')
  const lines = Buffer.concat(received).toString().trimEnd().split('\n')
  expect(lines.every((line, at) => Number(line) === Math.floor(at / 90))).toBe(true)
  expect(lines).toHaveLength(20_000 * 90)
})
