import { createServer, type Socket } from 'node:net'
import { CommandReader, encodeBulk, encodeError, encodeNull, encodeSimple } from '@outrider/resp'

export interface StandInRedis extends AsyncDisposable {
  /** `host:port`. */
  readonly address: string
}

/** A shard of the tour in place of a Redis, which would have to be installed: it knows GET, SET and PING alone. */
export async function startStandInRedis(): Promise<StandInRedis> {
  const values = new Map<string, Buffer>()
  const open = new Set<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    socket.on('error', () => undefined)
    answerOn(socket, (args) => answer(args, values))
  })
  const address = await new Promise<string>((resolve) =>
    server.listen(0, '127.0.0.1', () => {
      const bound = server.address()
      resolve(bound === null || typeof bound === 'string' ? '' : `127.0.0.1:${bound.port}`)
    }),
  )
  return {
    address,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

function answerOn(socket: Socket, reply: (args: readonly Buffer[]) => Buffer): void {
  const reader = new CommandReader()
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (bytes: Buffer) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
    let at = 0
    while (reader.read(rest, at, rest.length) === 'command') {
      const args: Buffer[] = []
      for (let index = 0; index < reader.argc; index += 1)
        args.push(Buffer.from(rest.subarray(at + reader.argStart(index), at + reader.argEnd(index))))
      socket.write(reply(args))
      at += reader.length
    }
    rest = rest.subarray(at)
  })
}

function answer([command, key, value]: readonly Buffer[], values: Map<string, Buffer>): Buffer {
  const name = command?.toString().toUpperCase()
  const at = key?.toString('latin1') ?? ''
  if (name === 'PING') return encodeSimple('PONG')
  if (name === 'SET' && value !== undefined) {
    values.set(at, value)
    return encodeSimple('OK')
  }
  if (name !== 'GET') return encodeError('ERR this stand-in knows GET, SET and PING alone')
  const found = values.get(at)
  return found === undefined ? encodeNull(2) : encodeBulk(found)
}
