import { Writable } from 'node:stream'
import { expect, test } from 'vitest'
import { Outbox, scarce } from './outbox.ts'

const PIECE = 64 * 1024

/** A reader that takes nothing until it is told to. */
function slowReader() {
  const waiting: (() => void)[] = []
  let relieved = 0
  const socket = new Writable({ write: (_chunk, _encoding, done) => void waiting.push(done) })
  socket.on('error', () => undefined)
  const outbox: Outbox = new Outbox(socket, () => {
    relieved += 1
  })
  socket.on('drain', () => outbox.drained())
  return {
    outbox,
    get relieved() {
      return relieved
    },
    fill() {
      let pieces = 0
      let open = true
      while (open) {
        outbox.bytes(Buffer.alloc(PIECE), 0, PIECE, true)
        open = outbox.flush()
        pieces += 1
      }
      return pieces
    },
    async takeAll() {
      while (waiting.length > 0) {
        waiting.shift()?.()
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
    close() {
      outbox.close()
      socket.destroy()
    },
  }
}

test('many slow readers share a bounded memory, and each that takes what it has is given more', async () => {
  const readers = Array.from({ length: 600 }, slowReader)
  const pieces = readers.map((reader) => reader.fill())
  expect(scarce()).toBe(true)
  // The first ones have as much as a reader may have, and those that come when memory is scarce one piece.
  expect(pieces[0]).toBeGreaterThan(1)
  expect(pieces.at(-1)).toBe(1)
  const total = pieces.reduce((sum, count) => sum + count, 0) * PIECE
  expect(total).toBeLessThan(32 * 1024 * 1024 + readers.length * PIECE)

  const last = readers.at(-1)
  await last?.takeAll()
  expect(last?.outbox.open).toBe(true)
  expect(last?.fill()).toBe(1)

  for (const reader of readers.slice(0, 500)) reader.close()
  expect(scarce()).toBe(false)
  await last?.takeAll()
  expect(last?.fill()).toBeGreaterThan(1)
  for (const reader of readers) reader.close()
})

test('a reader that is starved is told when it is open again, also where its socket emits no drain', async () => {
  const others = Array.from({ length: 400 }, slowReader)
  for (const other of others) other.fill()
  const reader = slowReader()
  // Less than its socket wants at most, so that no 'drain' will follow.
  reader.outbox.bytes(Buffer.alloc(20_000), 0, 20_000, true)
  expect(reader.outbox.flush()).toBe(false)
  await reader.takeAll()
  expect(reader.relieved).toBe(1)
  expect(reader.outbox.open).toBe(true)
  for (const other of [...others, reader]) other.close()
  expect(scarce()).toBe(false)
})

test('what a reader had waiting is counted out once when it is gone, however its socket ends', async () => {
  for (let round = 0; round < 3; round += 1) {
    const readers = Array.from({ length: 600 }, slowReader)
    for (const reader of readers) reader.fill()
    expect(scarce()).toBe(true)
    // Half are taken before and half after the end.
    for (const reader of readers) reader.outbox.close()
    await Promise.all(readers.map((reader) => reader.takeAll()))
    for (const reader of readers) reader.close()
    expect(scarce()).toBe(false)
  }
})
