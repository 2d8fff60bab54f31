import { connect } from 'node:net'
import { encodeCommand, ReplyScanner } from '@outrider/resp'

/** Sends commands on one connection; resolves with the replies as they came, without their last line's end. */
export function askRedis(url: URL, commands: readonly string[][], deadlineMs: number): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const scanner = new ReplyScanner()
    const pieces: Buffer[] = []
    const ends: number[] = []
    let length = 0
    const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true })
    socket.setTimeout(deadlineMs, () => socket.destroy(new Error(`no answer within ${deadlineMs} ms`)))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the connection has ended')))
    socket.on('data', (bytes: Buffer) => {
      let at = scanner.scan(bytes, 0, bytes.length)
      for (; at >= 0; at = scanner.scan(bytes, at, bytes.length)) ends.push(length + at)
      pieces.push(bytes)
      length += bytes.length
      if (scanner.fault !== '') socket.destroy(new Error(`no Redis: ${scanner.fault}`))
      if (ends.length < commands.length) return
      const all = Buffer.concat(pieces)
      resolve(ends.map((end, index) => all.toString('utf8', ends[index - 1] ?? 0, end - 2)))
      socket.destroy()
    })
    socket.write(Buffer.concat(commands.map((command) => encodeCommand(command))))
  })
}
