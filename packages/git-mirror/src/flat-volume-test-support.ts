import { readSync, writeSync } from 'node:fs'

/** A file or directory of a volume in memory. */
interface Item {
  readonly id: bigint
  name: string
  parent: Item | undefined
  readonly children: Map<string, Item> | undefined
  data: Buffer
  changed: number
}

const items = new Map<bigint, Item>()
const root = added(undefined, '', true)
const key = (name: string): string => name.toLowerCase()

function added(parent: Item | undefined, name: string, isDirectory: boolean): Item {
  const id = BigInt(items.size + 1)
  const children = isDirectory ? new Map<string, Item>() : undefined
  const item: Item = { id, name, parent, children, data: Buffer.alloc(0), changed: Date.now() }
  items.set(id, item)
  parent?.children?.set(key(name), item)
  return item
}

class Refusal extends Error {
  readonly errno: number

  constructor(errno: number) {
    super()
    this.errno = errno
  }
}
const [EPERM, ENOENT, EEXIST, ENOTDIR, EISDIR, ENOSYS, ENOTEMPTY] = [1, 2, 17, 20, 21, 38, 39]

const childrenOf = (item: Item): Map<string, Item> => {
  if (item.children === undefined) throw new Refusal(ENOTDIR)
  return item.children
}

function found(parent: Item, name: string): Item {
  const item = childrenOf(parent).get(key(name))
  if (item === undefined) throw new Refusal(ENOENT)
  return item
}

function requireFree(parent: Item, name: string): void {
  if (childrenOf(parent).has(key(name))) throw new Refusal(EEXIST)
}

function attributes({ id, children, data, changed }: Item): Buffer {
  const buffer = Buffer.alloc(88)
  buffer.writeBigUInt64LE(id, 0)
  buffer.writeBigUInt64LE(BigInt(data.length), 8)
  for (const at of [24, 32, 40]) buffer.writeBigUInt64LE(BigInt(Math.floor(changed / 1000)), at)
  buffer.writeUInt32LE(children === undefined ? 0o100755 : 0o040755, 60)
  buffer.writeUInt32LE(1, 64)
  buffer.writeUInt32LE(4_096, 80)
  return buffer
}

function entry(item: Item): Buffer {
  const head = Buffer.alloc(40)
  head.writeBigUInt64LE(item.id, 0)
  return Buffer.concat([head, attributes(item)])
}

const opened = (): Buffer => {
  const buffer = Buffer.alloc(16)
  // Direct: nothing is cached.
  buffer.writeUInt32LE(1, 8)
  return buffer
}

function listing(item: Item, offset: number, size: number): Buffer {
  const parts: Buffer[] = []
  let length = 0
  for (const [index, child] of [...childrenOf(item).values()].entries()) {
    if (index < offset) continue
    const name = Buffer.from(child.name)
    const part = Buffer.alloc(Math.ceil((24 + name.length) / 8) * 8)
    part.writeBigUInt64LE(child.id, 0)
    part.writeBigUInt64LE(BigInt(index + 1), 8)
    part.writeUInt32LE(name.length, 16)
    part.writeUInt32LE(child.children === undefined ? 8 : 4, 20)
    name.copy(part, 24)
    if (length + part.length > size) break
    parts.push(part)
    length += part.length
  }
  return Buffer.concat(parts)
}

function removed(parent: Item, name: string, isDirectory: boolean): Buffer {
  const item = found(parent, name)
  if (isDirectory && item.children === undefined) throw new Refusal(ENOTDIR)
  if (!isDirectory && item.children !== undefined) throw new Refusal(EISDIR)
  if ((item.children?.size ?? 0) > 0) throw new Refusal(ENOTEMPTY)
  childrenOf(parent).delete(key(name))
  return Buffer.alloc(0)
}

function renamed(parent: Item, from: string, to: Item, name: string): Buffer {
  const item = found(parent, from)
  const there = childrenOf(to).get(key(name))
  if (there !== undefined && there !== item) removed(to, name, item.children !== undefined)
  childrenOf(parent).delete(key(from))
  item.name = name
  childrenOf(to).set(key(name), item)
  return Buffer.alloc(0)
}

function written(item: Item, offset: number, data: Buffer): Buffer {
  const size = Math.max(item.data.length, offset + data.length)
  item.data = Buffer.concat([item.data, Buffer.alloc(size - item.data.length)])
  data.copy(item.data, offset)
  item.changed = Date.now()
  const buffer = Buffer.alloc(8)
  buffer.writeUInt32LE(data.length, 0)
  return buffer
}

function changedAttributes(item: Item, body: Buffer): Buffer {
  const valid = body.readUInt32LE(0)
  if ((valid & 7) !== 0) throw new Refusal(EPERM)
  if ((valid & 8) !== 0) {
    const size = Number(body.readBigUInt64LE(16))
    item.data = Buffer.concat([
      item.data.subarray(0, size),
      Buffer.alloc(Math.max(0, size - item.data.length)),
    ])
  }
  if ((valid & 32) !== 0) item.changed = Number(body.readBigUInt64LE(40)) * 1000
  return Buffer.concat([Buffer.alloc(16), attributes(item)])
}

function started(): Buffer {
  const buffer = Buffer.alloc(64)
  buffer.writeUInt32LE(7, 0)
  buffer.writeUInt32LE(31, 4)
  buffer.writeUInt32LE(1 << 17, 20)
  buffer.writeUInt32LE(1, 24)
  return buffer
}

function itemAt(id: bigint): Item {
  const item = items.get(id)
  if (item === undefined) throw new Refusal(ENOENT)
  return item
}

const texts = (body: Buffer): string[] => body.toString().split('\0')

function answer(opcode: number, item: Item, body: Buffer): Buffer {
  const [first = ''] = texts(body)
  const nothing = Buffer.alloc(0)
  switch (opcode) {
    case 1:
      return entry(found(item, first))
    case 3:
      return Buffer.concat([Buffer.alloc(16), attributes(item)])
    case 4:
      return changedAttributes(item, body)
    case 6:
    case 8:
    case 13:
      throw new Refusal(EPERM)
    case 9: {
      const [name = ''] = texts(body.subarray(8))
      requireFree(item, name)
      return entry(added(item, name, true))
    }
    case 10:
      return removed(item, first, false)
    case 11:
      return removed(item, first, true)
    case 12: {
      const [from = '', to = ''] = texts(body.subarray(8))
      return renamed(item, from, itemAt(body.readBigUInt64LE(0)), to)
    }
    case 14:
    case 27:
      return opened()
    case 15: {
      const offset = Number(body.readBigUInt64LE(8))
      return item.data.subarray(offset, offset + body.readUInt32LE(16))
    }
    case 16:
      return written(item, Number(body.readBigUInt64LE(8)), body.subarray(40, 40 + body.readUInt32LE(16)))
    case 17:
      return Buffer.alloc(80)
    case 18:
    case 20:
    case 25:
    case 29:
      return nothing
    case 26:
      return started()
    case 28:
      return listing(item, Number(body.readBigUInt64LE(8)), body.readUInt32LE(16))
    case 35: {
      const [name = ''] = texts(body.subarray(16))
      requireFree(item, name)
      return Buffer.concat([entry(added(item, name, false)), opened()])
    }
    default:
      throw new Refusal(ENOSYS)
  }
}

/**
 * Serves a volume like those of memory cards and some of networks: no symbolic links, no sockets, no modes, and upper
 * case is the same as lower case (fuse(4)). Reads from the device until it is unmounted.
 */
export function serveFlatVolume(device: number): void {
  const buffer = Buffer.alloc((1 << 17) + 8_192)
  for (;;) {
    let length: number
    try {
      length = readSync(device, buffer)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === 'ENODEV') return
      // Not mounted yet.
      if (code === 'EPERM') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
      else if (code !== 'EINTR' && code !== 'ENOENT') throw error
      continue
    }
    const opcode = buffer.readUInt32LE(4)
    // FORGET, INTERRUPT and BATCH_FORGET want no answer.
    if ([2, 36, 42].includes(opcode)) continue
    const head = Buffer.alloc(16)
    buffer.copy(head, 8, 8, 16)
    let body = Buffer.alloc(0)
    try {
      const item = opcode === 26 ? root : itemAt(buffer.readBigUInt64LE(16))
      body = Buffer.from(answer(opcode, item, Buffer.from(buffer.subarray(40, length))))
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      head.writeInt32LE(-error.errno, 4)
    }
    head.writeUInt32LE(16 + body.length, 0)
    writeSync(device, Buffer.concat([head, body]))
  }
}
